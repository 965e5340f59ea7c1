"""The exceptions of this software. Their class says what to do."""


class IngestorError(Exception):
    """Base of all errors this software raises on purpose."""


class LinkDown(IngestorError):
    """There is no live link to send on. Transient: the link supervisor is connecting already."""


class Transient(IngestorError):
    """A system outside is in trouble. Wait and try the same again."""


class OutcomeUnknown(Transient):
    """The connection was lost during COMMIT. Look whether the batch is stored before writing it again."""


class TooSlow(Transient):
    """A batch did not get through within the statement's deadline: half of it may."""


class DeadlineCut(OutcomeUnknown, TooSlow):
    """We cut the connection at the transaction's deadline: a batch that is not stored was too slow."""


class RowRejected(IngestorError):
    """The database rejects a value. Only the row that holds it is to blame."""


class WatermarkConflict(IngestorError):
    """A session or stream is not where the batch assumes it: load the state and apply again."""


class Fatal(IngestorError):
    """Waiting cannot help: stop, say why, and exit with `exit_code`."""

    exit_code = 70


class SchemaMismatch(Fatal):
    """The database's schema is missing, older or newer than this software can write to."""

    exit_code = 78


class BadConfiguration(Fatal):
    """A setting is wrong; the text names the key, where its value came from, and the fix."""

    exit_code = 78


class CredentialRefused(Fatal):
    """The hub or the database refused our credential on first start."""

    exit_code = 77


def parts_of(error: BaseException) -> tuple[str, str, str]:
    """What an error's lines say: what, why and what to do; empty where it does not say it."""
    what, *rest = str(error).splitlines() or [type(error).__name__]
    said = dict(line.strip().split(": ", 1) for line in rest if ": " in line)
    return what, said.get("why", ""), said.get("fix", "")
