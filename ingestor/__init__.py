"""Keeps a Hercle account in Postgres, and says in SQL how complete the data is."""
