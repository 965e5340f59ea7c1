"""The composition root: the one package that names concrete adapters.

`wiring` builds the daemon, `database` finds or starts its Postgres, `checks` tries the whole path once, and
`status` reads what the daemon has left in the database. Nothing is imported here: each command loads what it
needs.
"""
