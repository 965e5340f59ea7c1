"""The monthly statement: one HTML file that opens without a network and prints on A4.

`figures` has its data, `charts` draws, `page` renders the HTML. Nothing here uses the database.
"""

from ingestor.domain.errors import BadConfiguration

try:
    from ingestor.statement.page import page
except ImportError as error:
    raise BadConfiguration(
        f"no statement can be written\nwhy: it needs {error.name}\nfix: pip install 'hercle-ingestor[files]'"
    ) from error

__all__ = ["page"]
