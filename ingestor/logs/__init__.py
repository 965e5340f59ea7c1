"""Log records: one line each on standard error, readable text on a terminal and JSON elsewhere."""

from ingestor.logs.output import drain, is_journal, writer_alive
from ingestor.logs.redaction import redact, register_secret
from ingestor.logs.rendering import printable
from ingestor.logs.setup import configure

__all__ = ["configure", "drain", "is_journal", "printable", "redact", "register_secret", "writer_alive"]
