"""`ingestor support-bundle`: what it may contain, and where that comes from."""
