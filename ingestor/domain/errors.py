"""The small exception tree. Whoever catches one of these knows what to do by its class alone."""


class IngestorError(Exception):
    """Base of all errors this software raises on purpose."""


class LinkDown(IngestorError):
    """There is no live link to send on. Transient: the supervisor is already on it."""


class Transient(IngestorError):
    """The outside is unwell. Back off and try the very same thing again."""


class OutcomeUnknown(Transient):
    """The link to the database died during COMMIT. The same batch again: its guard absorbs a repetition."""


class DataRefused(IngestorError):
    """The database refuses a value. Only the row that holds it is to blame."""


class StateMoved(IngestorError):
    """Another writer moved a watermark that this one holds: reload the state and decide again."""


class Fatal(IngestorError):
    """Nothing that waiting could cure: stop, say why, and exit with `exit_code`."""

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
