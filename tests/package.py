"""The collection as it is published: a copy of what git knows, the package built from it, environments to use it in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def copy(target: Path, leave_out: tuple[str, ...] = ()) -> None:
    """What git knows or would add: nothing that a checkout gathers can hide a mistake or make one."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if leave_out and name.startswith(leave_out):
            continue
        source = CHECKOUT / name
        if source.is_file() and not source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)


def build(scratch: Path) -> Path:
    """The package, built from a clean copy."""
    source = scratch / "source"
    copy(source)
    command = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(scratch), str(source)]
    subprocess.run(command, cwd=scratch, env=environment(scratch), check=True)
    return next(scratch.glob("signalbox-platform-*.tar.gz"))


def environment(scratch: Path, programs: Path = BIN) -> dict[str, str]:
    """The caller's environment with nothing of Ansible's in it, so that no setting of a checkout helps."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GALAXY_IMPORTER_"))}
    return {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_HOME": str(scratch / "home")}


def venv(folder: Path, python: str, arguments: Sequence[str]) -> Path:
    """The programs of a virtual environment with what pip is told to install, made anew when a file of it changed."""
    files = [CHECKOUT / argument for argument in arguments if (CHECKOUT / argument).is_file()]
    told = [python, *arguments, *(path.read_text() for path in files)]
    digest, stamp = hashlib.sha256("\0".join(told).encode()).hexdigest(), folder / "inputs"
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"making {folder.relative_to(CHECKOUT)}", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *arguments], cwd=CHECKOUT, check=True)
        stamp.write_text(digest)
    return folder / "bin"


def python_of(version: str) -> str | None:
    """An interpreter of this version that runs and makes virtual environments: a shim on PATH may do neither."""
    pyenv = Path.home().glob(f".pyenv/versions/{version}*/bin/python3")
    found = [sys.executable, shutil.which(f"python{version}"), *map(str, sorted(pyenv)), f"/usr/bin/python{version}"]
    question = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for python in filter(None, found):
        try:
            asked = subprocess.run([python, "-c", question], capture_output=True, check=False)
        except OSError:
            continue
        if asked.returncode == 0:
            return python
    return None
