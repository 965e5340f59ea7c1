"""Keeps a Hercle account in Postgres, and says in SQL how complete the data is."""

__version__ = "0.1.0"
