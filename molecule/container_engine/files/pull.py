#!/usr/bin/python3
"""A slow pull, requests on new connections and requests on one that is kept, all until told to end: prints what failed.

Reads "user:password" from its input. Nothing is tried again: a client that does would hide what was lost.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time

READY, END = "/run/pulling", "/run/pulled"
BLOB = os.urandom(16 << 20)
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
HEADERS = {"Authorization": "Basic " + base64.b64encode(sys.stdin.buffer.read()).decode()}
CONTEXT = ssl.create_default_context(cafile="/etc/signalbox/tls/ca.crt")
DEADLINE = time.monotonic() + 90
found = {"new": 0, "kept": 0, "closed": 0, "pulled": False, "failures": []}


class Connection(http.client.HTTPSConnection):
    """Takes in little at a time, so that a slow reader really holds up the sender."""

    def __init__(self) -> None:
        super().__init__("registry1", 5000, timeout=20, context=CONTEXT)

    def connect(self) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plain.settimeout(self.timeout)
        plain.connect((self.host, self.port))
        self.sock = CONTEXT.wrap_socket(plain, server_hostname=self.host)


def ended() -> bool:
    return os.path.exists(END) or time.monotonic() > DEADLINE


def ask(connection: Connection) -> bool:
    """One request of a stranger, for a password costs the registry too much time; whether the connection goes on."""
    connection.request("GET", "/v2/")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 401, answer.status
    return not answer.will_close


def on_new_connections() -> None:
    while not ended():
        connection = Connection()
        ask(connection)
        connection.close()
        found["new"] += 1


def on_a_kept_connection() -> None:
    connection = Connection()
    while not ended():
        if not ask(connection):
            found["closed"] += 1
            connection = Connection()
        found["kept"] += 1
        time.sleep(0.02)


def push() -> None:
    connection = Connection()
    connection.request("POST", "/v2/demo/blobs/uploads/", headers=HEADERS)
    answer = connection.getresponse()
    answer.read()
    place = answer.headers["Location"]
    assert place.startswith("https://registry1:5000/"), place
    connection.request("PUT", f"{place}&digest={DIGEST}", BLOB, HEADERS)
    assert connection.getresponse().status == 201


def pull() -> None:
    connection = Connection()
    connection.request("GET", f"/v2/demo/blobs/{DIGEST}", headers=HEADERS)
    answer, digest = connection.getresponse(), hashlib.sha256()
    while block := answer.read(8192):
        digest.update(block)
        if not ended():
            time.sleep(0.05)
    found["pulled"] = f"sha256:{digest.hexdigest()}" == DIGEST


def recorded(work) -> None:
    try:
        work()
    except Exception as error:  # whatever it was, it counts
        found["failures"].append(f"{work.__name__}: {error!r}")


push()
threads = [threading.Thread(target=recorded, args=(work,)) for work in (pull, on_new_connections, on_a_kept_connection)]
for thread in threads:
    thread.start()
time.sleep(1)
with open(READY, "w"):
    pass
for thread in threads:
    thread.join()
print(json.dumps(found))
