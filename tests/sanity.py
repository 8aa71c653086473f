#!/usr/bin/env python3
"""ansible-test sanity on a copy, as it refuses a collection that is reached through a link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import package
from package import BIN, CHECKOUT

HOME = CHECKOUT / ".cache/sanity"  # ansible-test keeps its environments below the home directory
NOT_SHIPPED = ("docs/generate", "lab/", "molecule/", "tests/")  # programs of the checkout, which may have a shebang
TESTS = (
    "action-plugin-docs",
    "compile",
    "empty-init",
    "ignores",
    "import",
    "line-endings",
    "no-assert",
    "no-get-exception",
    "no-illegal-filenames",
    "no-smart-quotes",
    "replace-urlopen",
    "runtime-metadata",
    "shebang",
    "symlinks",
    "use-argspec-type-path",
    "use-compat-six",
    "validate-modules",
)


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="sanity-") as scratch:
        copy = Path(scratch) / "ansible_collections/signalbox/platform"
        package.copy(copy, leave_out=NOT_SHIPPED)
        _excuse(copy)
        for command in (["init", "--quiet"], ["add", "--all"]):  # ansible-test asks git for its files
            subprocess.run(["git", *command], cwd=copy, check=True)
        _offer_pip()
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(HOME)}
        for name in ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_CONFIG", "ANSIBLE_HOME"):
            environment.pop(name, None)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [str(BIN / "ansible-test"), "sanity", "--python", python, "--color", "no"]
        chosen = [argument for name in arguments or TESTS for argument in ("--test", name)]
        return subprocess.run([*command, *chosen], cwd=copy, env=environment, check=False).returncode


def _excuse(copy: Path) -> None:
    """Programs for hosts, which have Debian's Python: the test knows shebangs of shells and of plain python."""
    programs = [path for path in sorted(copy.glob("roles/*/files/**/*")) if path.is_file()]
    lines = [
        f"{path.relative_to(copy)} shebang\n"
        for path in programs
        if path.read_bytes().startswith(b"#!/usr/bin/python3")
    ]
    folder = copy / "tests/sanity"
    folder.mkdir(parents=True)
    core = ".".join(version("ansible-core").split(".")[:2])
    (folder / f"ignore-{core}.txt").write_text("".join(lines))


def _offer_pip() -> None:
    """ansible-test would download a script that installs pip; Python brings a pip of its own."""
    folder = HOME / ".ansible/test/cache"
    folder.mkdir(parents=True, exist_ok=True)
    sources = BIN.parent.glob("lib/python*/site-packages/ansible_test/_internal/python_requirements.py")
    versions = {found for source in sources for found in re.findall(r"pip='([0-9.]+)'", source.read_text())}
    for found in versions:
        (folder / f"get_pip_{found.replace('.', '_')}.py").write_text("import ensurepip\n\nensurepip.bootstrap()\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
