"""Everything that knows SignalR, signalrcore and WebSockets.

signalrcore 1.0.2 is used as a one-shot connection: one object per attempt, never restarted, and never
reconnecting by itself (decision 0002). `link` supervises attempts by the table in `states`; `attempt` is
one of them. `tcp` is its TCP or TLS connection, over which `negotiate` gets a token and `websocket` opens a
WebSocket; `messages` and `websocket` read and write it with the `websockets` library (decision 0009).
`protocol` splits messages into hub records, and `connection` puts these parts into signalrcore. `causes`
names what can fail and what to do about it. `retry` computes the pause before the next attempt, and `losses`
finds the setting that may cause lost sessions.
"""
