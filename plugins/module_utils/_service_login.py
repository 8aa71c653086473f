# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One login at PostgreSQL or Redis over verified TLS, and why it was refused."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any

from ansible_collections.signalbox.platform.plugins.module_utils._redis_protocol import RedisError, encode, read_reply


@dataclass(frozen=True)
class Server:
    """Where to, and how it proves itself; without a name the certificate must carry the address."""

    address: str
    port: int
    ca_path: str
    name: str = ""
    timeout_seconds: int = 10


def postgresql_options(server: Server, user: str, database: str, password: str) -> dict[str, Any]:
    """What libpq needs to log in over verified TLS."""
    return {
        "host": server.name or server.address,
        "hostaddr": server.address,
        "port": server.port,
        "user": user,
        "password": password,
        "dbname": database,
        "sslmode": "verify-full",
        "sslrootcert": server.ca_path,
        "gssencmode": "disable",
        "connect_timeout": server.timeout_seconds,
    }


def postgresql_refusal(driver: Any, server: Server, user: str, database: str, password: str) -> str | None:
    """None, or why the login failed. `driver` is psycopg2."""
    try:
        connection = driver.connect(
            **postgresql_options(server, user, database, password), application_name="signalbox-verify"
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                return None if cursor.fetchone()[0] else "the session is not encrypted"
        finally:
            connection.close()
    except driver.Error as error:
        # Reason and hint stand on lines of their own.
        return " ".join(str(error).split()) or "the server said nothing"


def redis_refusal(context: ssl.SSLContext, server: Server, user: str, password: str) -> str | None:
    """None, or why the login failed."""
    try:
        with (
            socket.create_connection((server.address, server.port), timeout=server.timeout_seconds) as plain,
            context.wrap_socket(plain, server_hostname=server.name or server.address) as secured,
            secured.makefile("rb") as replies,
        ):
            for command in (("AUTH", user, password), ("PING",)):
                secured.sendall(encode(*command))
                read_reply(replies)
    except (OSError, RedisError) as error:
        return str(error)
    return None
