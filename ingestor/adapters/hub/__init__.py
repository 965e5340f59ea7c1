"""Everything that knows SignalR and signalrcore.

signalrcore 1.0.2 is used as a one-shot connection: one object per attempt, never restarted, and never
reconnecting by itself (decision 0002). `link` supervises attempts, `attempt` is one of them, `negotiate` and
`websocket` do what the library does unsafely, `protocol` takes frames apart record by record, `connection`
plugs those into the library, `states` is the table that the supervisor runs by.
"""
