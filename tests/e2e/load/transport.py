"""Opens connections, and names what goes wrong on them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from .options import Options, Target
from .recorder import Fault

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
READ_BYTES = 65_536


class Transport:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._contexts: dict[str, ssl.SSLContext] = {}

    def _context(self, alpn: str) -> ssl.SSLContext:
        if alpn not in self._contexts:
            context = ssl.create_default_context(cafile=self._options.ca)
            context.set_alpn_protocols([alpn])
            self._contexts[alpn] = context
        return self._contexts[alpn]

    async def open(self, target: Target, protocol: str) -> Streams:
        address, port = target
        arguments: dict[str, object] = {}
        if protocol != "http1":
            alpn = "h2" if protocol == "h2" else "http/1.1"
            arguments = {"ssl": self._context(alpn), "server_hostname": self._options.host}
        try:
            async with asyncio.timeout(self._options.timeout):
                streams = await asyncio.open_connection(address, self._options.port(protocol, port), **arguments)
        except ConnectionRefusedError as error:
            raise Fault("connect_refused", str(error)) from error
        except TimeoutError as error:
            raise Fault("connect_timeout", "no connection in time") from error
        except ssl.SSLError as error:
            raise Fault("connect_tls", str(error)) from error
        except OSError as error:
            raise Fault("connect_error", str(error)) from error
        if protocol == "h2" and streams[1].get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            await close(streams[1])
            raise Fault("connect_tls", "the server does not offer h2")
        return streams


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


def lost(error: OSError, reused: bool, began: bool) -> Fault:
    """A connection that broke: before any byte of the answer on a reused connection it is the keep-alive race."""
    if began:
        return Fault("reset_in_answer", str(error))
    return Fault("reset_on_reuse" if reused else "reset", str(error))


def ended(reused: bool, began: bool) -> Fault:
    if began:
        return Fault("closed_in_answer", "the answer is incomplete")
    return Fault("closed_on_reuse" if reused else "closed", "no byte of an answer")
