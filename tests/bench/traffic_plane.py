#!/usr/bin/env python3
"""What the traffic plane costs, against plain proxy_pass, turn by turn in one run on a host that runs the role edge.

  traffic_plane.py HOST [--app NAME] [--domain NAME] [--rounds N] [--seconds S] [--connections N]

HOST is a container (docker exec). wrk and h2load (nghttp2-client) must be installed there, and the app's slots must
answer. Two listeners exist for the run alone: one chooses the slot as the app's own listeners do and counts, the other
has a fixed upstream; headers, limits and log are the same. Ratios are what counts: absolute figures belong to the
machine that is printed with them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time

SERVERS = """
server {{
  listen 127.0.0.1:{plain};
  http2 on;
  server_name {domain};
  set $sb_app "";
  include signalbox/app_common.conf;
  access_log /var/log/signalbox-edge/plain.jsonl signalbox buffer=64k flush=1s;
  location / {{
    proxy_pass {scheme}://signalbox_{zone}_blue;
  }}
}}
server {{
  listen 127.0.0.1:{plane};
  http2 on;
  server_name {domain};
  set $sb_app {app};
  set $sb_health_path "/health";
  set $sb_sticky $remote_addr;
  include signalbox/app_common.conf;
  location / {{
    set $sb_slot $sb_choice;
    if ($sb_slot = "") {{
      return 503;
    }}
    js_header_filter traffic.header;
    proxy_pass {scheme}://signalbox_{zone}_$sb_slot;
  }}
}}
"""
CONTROL = "curl -s --unix-socket /run/signalbox-edge/control.sock"
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
FILE = "/etc/nginx/signalbox/zz-bench.conf"
PLAIN, PLANE = 18081, 18082


class Host:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, command: str, text: str = "") -> str:
        done = subprocess.run(
            ["docker", "exec", "-i", self.name, "sh", "-c", command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout


def add_listeners(host: Host, app: str, domain: str) -> None:
    zone = app.replace("-", "_")
    scheme = host.run(f"grep -om1 'https\\?://signalbox_{zone}_' /etc/nginx/signalbox/apps.conf").partition(":")[0]
    host.run(
        f"cat > {FILE}",
        SERVERS.format(plain=PLAIN, plane=PLANE, app=app, domain=domain, zone=zone, scheme=scheme),
    )
    host.run(
        "cp -p /etc/nginx/nginx.conf /etc/nginx/nginx.conf.bench"
        " && sed -i 's|^  include signalbox/apps.conf;|&\\n  include signalbox/zz-bench.conf;|' /etc/nginx/nginx.conf"
        " && nginx -t -q && systemctl reload nginx && sleep 1"
    )


def remove(host: Host) -> None:
    host.run(f"mv /etc/nginx/nginx.conf.bench /etc/nginx/nginx.conf; rm -f {FILE}; systemctl reload nginx")
    # The old workers close what they accepted in their last moments: that is a reload's loss, not a switch's.
    time.sleep(2)


def worker_seconds(host: Host) -> float:
    """CPU seconds of all nginx workers of the edge."""
    text = host.run('for pid in $(pgrep -P "$(cat /run/nginx.pid)"); do cat "/proc/$pid/stat"; done; getconf CLK_TCK')
    lines = text.splitlines()
    fields = [line.rsplit(")", 1)[1].split() for line in lines[:-1]]
    return sum(int(field[11]) + int(field[12]) for field in fields) / int(lines[-1])


def wrk(host: Host, port: int, arguments: argparse.Namespace, connections: int) -> dict[str, float]:
    before = worker_seconds(host)
    text = host.run(
        f"wrk -t1 -c{connections} -d{arguments.seconds} --latency -H 'Host: {arguments.domain}'"
        f" http://127.0.0.1:{port}{arguments.path}"
    )
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"not a clean run:\n{text}")
    found = {"rate": float(re.search(r"Requests/sec:\s+([0-9.]+)", text)[1])}
    requests = int(re.search(r"(\d+) requests in", text)[1])
    found["cpu_us"] = (worker_seconds(host) - before) / requests * 1e6
    for share in ("50", "99"):
        value, unit = re.search(rf"{share}%\s+([0-9.]+)(us|ms|s)", text).groups()
        found[f"p{share}"] = float(value) * UNITS[unit]
    return found


def h2load(host: Host, port: int, arguments: argparse.Namespace) -> dict[str, float]:
    text = host.run(
        f"h2load -c4 -m8 -D{arguments.seconds} --connect-to=127.0.0.1:{port} http://{arguments.domain}{arguments.path}"
    )
    failed = re.search(r"(\d+) failed, (\d+) errored", text)
    if not failed or failed.groups() != ("0", "0"):
        sys.exit(f"not a clean run:\n{text}")
    return {"rate": float(re.search(r"finished in .*?, ([0-9.]+) req/s", text)[1])}


def switches(host: Host, arguments: argparse.Namespace) -> list[float]:
    """Milliseconds of a PUT as curl on the host sees it, while wrk runs."""
    state = json.loads(host.run(f"{CONTROL} http://edge/state/{arguments.app}"))
    load = subprocess.Popen(
        ["docker", "exec", host.name, "wrk", "-t1", "-c16", "-d8", "-H", f"Host: {arguments.domain}",
         f"http://127.0.0.1:80{arguments.path}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    times = []
    for number in range(21):
        weights = {"blue": 100 * (number % 2), "green": 100 * ((number + 1) % 2)} if number < 20 else state["weights"]
        body = {**state, "generation": state["generation"] + number + 1, "weights": weights}
        seconds = host.run(
            f"{CONTROL} -X PUT -d @- -o /dev/null -w '%{{time_total}}' http://edge/state/{arguments.app}",
            json.dumps(body),
        )
        times.append(float(seconds) * 1000)
    text = load.communicate()[0]
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"requests failed while switching:\n{text}")
    return times


def table(name: str, plain: list[dict[str, float]], plane: list[dict[str, float]]) -> None:
    for key in plain[0]:
        one, two = (statistics.median(row[key] for row in rows) for rows in (plain, plane))
        print(f"{name:6} {key:6} plain {one:10.2f}  traffic plane {two:10.2f}  ratio {two / one:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--app", default="agent-api")
    parser.add_argument("--domain", default="api.test")
    parser.add_argument("--path", default="/health")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    host = Host(arguments.host)
    print(
        host.run("uname -m; nproc; grep -m1 'model name' /proc/cpuinfo; nginx -v 2>&1; cut -d' ' -f1-3 /proc/loadavg")
    )
    add_listeners(host, arguments.app, arguments.domain)
    try:
        # One connection waits for nobody: what it sees is added latency. Many of them see the queue before two cores.
        results: dict[str, tuple[list, list]] = {"single": ([], []), "wrk": ([], []), "h2load": ([], [])}
        for number in range(arguments.rounds):
            order = [(PLAIN, 0), (PLANE, 1)] if number % 2 else [(PLANE, 1), (PLAIN, 0)]
            for port, side in order:
                results["single"][side].append(wrk(host, port, arguments, 1))
                results["wrk"][side].append(wrk(host, port, arguments, arguments.connections))
                results["h2load"][side].append(h2load(host, port, arguments))
        for name, (plain, plane) in results.items():
            table(name, plain, plane)
    finally:
        remove(host)
    times = switches(host, arguments)
    print(
        f"20 switches under load: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms,"
        " no failed request"
    )


if __name__ == "__main__":
    main()
