#!/usr/bin/env python3
"""The reference API's own tests and mypy over it, where it runs: Debian 13's Python, PostgreSQL 17 and Redis 8.

All of it is in one container of the lab's host image; its environment is kept in .cache/.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT / "lab"))
import images  # noqa: E402  found by the line above

NAME = "signalbox-api-tests"
SOURCE = CHECKOUT / "lab/api"
CACHE = CHECKOUT / ".cache/api"
SERVICES = """
apt-get update -qq
apt-get install -qqy --no-install-recommends postgresql-17 python3-venv redis-server
pg_ctlcluster 17 main restart
runuser -u postgres -- psql -qc "CREATE ROLE agent LOGIN PASSWORD 'agent'" -c 'CREATE DATABASE agent OWNER agent'
redis-server --port 6380 --save '' --daemonize yes
"""
ENVIRONMENT = """
[ "$(cat /cache/inputs 2>/dev/null)" = "$INPUTS" ] && exit
python3 -m venv --clear /cache/venv
for file in requirements.txt requirements-dev.txt; do
    /cache/venv/bin/pip install --quiet --only-binary :all: --require-hashes -r "/api/$file"
done
echo "$INPUTS" >/cache/inputs
"""
TESTS = """
export PATH=/cache/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
mypy --cache-dir /cache/mypy app || failed=1
PYTHONPATH=/api DATABASE_URL="$TEST_DATABASE_URL" alembic upgrade head
pytest -q -p no:cacheprovider || failed=1
exit ${failed:-0}
"""
VARIABLES = {
    "HOME": "/tmp",
    "PIP_CERT": "/etc/ssl/certs/ca-certificates.crt",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "TEST_DATABASE_URL": "postgresql+asyncpg://agent:agent@127.0.0.1/agent",
    "TEST_REDIS_URL": "redis://127.0.0.1:6380/0",
}


def main() -> int:
    CACHE.mkdir(parents=True, exist_ok=True)
    remove = ["docker", "rm", "--force", "--volumes", NAME]
    subprocess.run(remove, capture_output=True, check=False)
    mounts = ["-v", f"{SOURCE}:/api:ro", "-v", f"{CACHE}:/cache", "-w", "/api"]
    start = [
        "docker",
        "run",
        "--detach",
        "--name",
        NAME,
        "--entrypoint",
        "/usr/bin/sleep",
        *mounts,
        images.HOST,
        "infinity",
    ]
    try:
        subprocess.run(start, stdout=subprocess.DEVNULL, check=True)
        inside(SERVICES, "root", {"DEBIAN_FRONTEND": "noninteractive"})
        pinned = [path.read_bytes() for path in sorted(SOURCE.glob("requirements*.txt"))]
        inputs = hashlib.sha256(b"\0".join(pinned)).hexdigest()
        me = f"{os.getuid()}:{os.getgid()}"
        inside(ENVIRONMENT, me, {**VARIABLES, "INPUTS": inputs})
        said = inside(TESTS, me, VARIABLES)
    except subprocess.CalledProcessError:
        return 1  # it has said why
    finally:
        subprocess.run(remove, capture_output=True, check=False)
    skipped = re.search(r"\d+ skipped", said)
    if skipped:
        print(f"no test may be skipped: {skipped[0]}")
    return 1 if skipped else 0


def inside(script: str, user: str, variables: dict[str, str]) -> str:
    command = ["docker", "exec", "--user", user]
    for name, value in variables.items():
        command += ["--env", f"{name}={value}"]
    done = subprocess.run(
        [*command, NAME, "bash", "-ec", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, flush=True)
    done.check_returncode()
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
