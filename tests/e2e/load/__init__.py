"""Load generator that counts every failed request: keep-alive HTTP/1.1, HTTP/2, SSE and WebSocket, no retries.

Protocols are sans-I/O libraries over asyncio streams, so nothing beneath it hides a failure by asking again.
"""
