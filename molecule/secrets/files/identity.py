#!/usr/bin/python3
"""What a host does with its identity, by hand: unwrap or log in, read, and say what became of each request.

Reads one JSON object on standard input: address, role_id, wrapping_token or secret_id, paths. Answers with JSON.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.error
import urllib.request

CONTEXT = ssl.create_default_context(cafile="/etc/signalbox/tls/ca.crt")


def ask(address, path, token="", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/v1/{path}", data, {"X-Vault-Token": token} if token else {})
    try:
        with urllib.request.urlopen(request, context=CONTEXT, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def main():
    given = json.load(sys.stdin)
    address, result = given["address"], {"secret_id": given.get("secret_id", ""), "reads": {}}
    if given.get("wrapping_token"):
        result["created"] = ask(address, "sys/wrapping/lookup", body={"token": given["wrapping_token"]})[1]["data"]
        result["secret_id"] = ask(address, "sys/wrapping/unwrap", given["wrapping_token"], {})[1]["data"]["secret_id"]
        result["second_unwrap"] = ask(address, "sys/wrapping/unwrap", given["wrapping_token"], {})[0]
    login = {"role_id": given["role_id"], "secret_id": result["secret_id"]}
    status, answer = ask(address, "auth/approle/login", body=login)
    result["login"] = status
    token = (answer.get("auth") or {}).get("client_token", "")
    for path in given["paths"] if token else ():
        status, answer = ask(address, path, token)
        result["reads"][path] = {"status": status, "data": answer.get("data")}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
