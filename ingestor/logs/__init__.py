"""Log records: one line each on standard error, for people on a terminal and for machines elsewhere."""

from ingestor.logs.redaction import redact, register_secret
from ingestor.logs.setup import configure
from ingestor.logs.text import printable

__all__ = ["configure", "printable", "redact", "register_secret"]
