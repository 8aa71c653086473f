#!/usr/bin/env python3
"""The main job on this machine: hosts, platform, first release, a release under load, a rollback under load.

Ends with a table of what was measured and the address to open.
"""

from __future__ import annotations

import sys
import time

from driver import DOMAIN, Driver, Run
from shell import LabError, fail, say

LOAD = (
    "--protocol", "http1", "--protocol", "https", "--protocol", "h2",
    "--connections", "64", "--rate", "300", "--streams", "20", "--websockets", "20", "--stream-seconds", "60",
)  # fmt: skip


def main() -> int:
    try:
        print("\n".join(_demo(Driver())))
    except LabError as error:
        return fail(error)
    return 0


def _demo(driver: Driver) -> list[str]:
    started = time.monotonic()
    driver.lab("up")
    driver.must("secrets")
    say("provisioning seven hosts")
    site = driver.must("site")
    driver.publish({"1.0.0": "", "1.1.0": ""})
    first = _release(driver, "1.0.0")
    serving = time.monotonic() - started
    say("load: 64 keep-alive connections over HTTP/1.1, TLS and HTTP/2, 20 SSE and 20 WebSocket streams of 60 s")
    with driver.load(*LOAD) as load:
        time.sleep(5)
        second = _release(driver, "1.1.0")
        say("rolling back")
        rollback = driver.must("rollback")
        report = load.stop()
    return _table(serving, site, first, second, rollback, report)


def _release(driver: Driver, version: str) -> Run:
    say(f"releasing {version}")
    return driver.must("deploy", version=version)


def _table(serving: float, site: Run, first: Run, second: Run, rollback: Run, report: dict) -> list[str]:
    switches = report["switches"]
    rows = [
        ("fresh machine to serving API", f"{serving:.0f} s"),
        ("provisioning (site.yml)", f"{site.seconds:.0f} s"),
        ("first release", f"{first.seconds:.0f} s"),
        ("release under load, bake and drain included", f"{second.seconds:.0f} s"),
        ("rollback under load", f"{rollback.seconds:.1f} s"),
        ("cutover: first new answer to last old one", ", ".join(f"{s['overlap_ms']:.0f} ms" for s in switches)),
        ("requests sent", f"{report['requests']:,}"),
        ("requests failed, reset or replayed", f"{report['failures'] + report['replayed']:,}"),
        ("streams kept", f"{report['streams_complete']} of {report['streams_started']}"),
    ]
    width = max(len(name) for name, _ in rows)
    return [
        "",
        *(f"  {name:{width}}  {value}" for name, value in rows),
        "",
        f"  open https://{DOMAIN}:8443/ (add `127.0.0.1 {DOMAIN}` to /etc/hosts), or:",
        f"  curl --cacert .lab/ca.crt --resolve {DOMAIN}:8443:127.0.0.1 https://{DOMAIN}:8443/health",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
