"""`ingestor install` and `uninstall`: plans, and carrying them out."""
