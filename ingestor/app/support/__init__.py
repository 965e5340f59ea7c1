"""`ingestor support-bundle`: its contents, and how they are collected."""
