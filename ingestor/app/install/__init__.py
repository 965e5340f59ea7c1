"""`ingestor install` and `uninstall`: what they would do, and doing it."""
