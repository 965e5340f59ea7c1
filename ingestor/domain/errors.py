"""The exceptions of this software. The class of each determines the reaction."""


class IngestorError(Exception):
    """Base of all errors this software raises on purpose."""


class LinkDown(IngestorError):
    """There is no live link to send on. Transient: the link supervisor is connecting already."""


class Transient(IngestorError):
    """The hub or the database does not work at the moment. Wait and try again."""


class OutcomeUnknown(Transient):
    """The connection was lost during COMMIT. Check whether the batch is stored before writing it again."""


class TooSlow(Transient):
    """A batch was not written within the statement's deadline; a half of it may be."""


class DeadlineCut(OutcomeUnknown, TooSlow):
    """We closed the connection at the transaction's deadline: if the batch is not stored, it was too slow."""


class RowRejected(IngestorError):
    """The database rejects a value, which is a fault of its row only."""


class WatermarkConflict(IngestorError):
    """The stored position of a session or stream is not what the batch assumes: load the state, apply
    again."""


class Fatal(IngestorError):
    """Waiting cannot help: stop with a message and `exit_code`."""

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
