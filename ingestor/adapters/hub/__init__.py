"""Everything that knows SignalR and signalrcore.

signalrcore 1.0.2 is used as a one-shot connection: one object per attempt, never restarted, and never
reconnecting by itself (decision 0002). `link` supervises attempts by the table in `states`, `attempt` is one
of them. `line` is its TCP or TLS connection, over which `negotiate` and `upgrade` come to terms and
`websocket` reads and writes frames; `protocol` takes those apart record by record, and `connection` plugs it
all into the library. `causes` names what can go wrong, `credential` keeps the key out of what the hub says.
"""
