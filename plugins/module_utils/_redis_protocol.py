# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""As much of the Redis protocol (RESP2) as a login needs: commands out, replies without arrays in."""

from __future__ import annotations

from typing import IO, Union

Reply = Union[bytes, int, None]


class RedisError(Exception):
    """The server answered with an error, or not at all."""


def encode(*arguments: str) -> bytes:
    """A command as the server wants it."""
    parts = [argument.encode() for argument in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def read_reply(stream: IO[bytes]) -> Reply:
    """One reply. Raises RedisError for an error, a broken line or an end of the stream."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise RedisError("the server closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RedisError(rest.decode(errors="replace"))
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else stream.read(size + 2)[:-2]
    raise RedisError(f"the server answered with an unknown type {kind!r}")
