"""The composition root: the one package that names concrete adapters.

`wiring` builds the daemon, `database` finds or starts its Postgres, `check` tries the whole path once, and
`status` reads the daemon's state from the database. Nothing is imported here: each command imports what it
needs.
"""
