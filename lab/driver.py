"""Drives the platform as an operator does: playbooks on the command line, and load from outside.

The demo and the end-to-end tests share it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hosts
import registry
import secret_values
from shell import CHECKOUT, STATE, LabError

BIN = Path(sys.executable).parent
LOGS = STATE / "logs"
DOMAIN = "api.lab.test"


@dataclass(frozen=True)
class Run:
    """A finished playbook run."""

    code: int
    output: str
    seconds: float

    @property
    def last_screen(self) -> str:
        return "\n".join(self.output.rstrip().splitlines()[-40:])


@dataclass
class Load:
    """A running load generator; `stop` ends it gracefully and returns its report."""

    process: subprocess.Popen[bytes]
    stop_file: Path
    report_file: Path
    log: Path

    @property
    def answers(self) -> int:
        """Answers so far, as the generator's last progress line says."""
        found = re.findall(r"(\d+) answers", self.log.read_text())
        return int(found[-1]) if found else 0

    def stop(self, timeout: float = 420) -> dict[str, Any]:
        self.stop_file.touch()
        return self.wait(timeout)

    def wait(self, timeout: float) -> dict[str, Any]:
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise LabError(f"the load generator does not end; see {self.log}") from None
        if not self.report_file.exists():
            raise LabError(f"the load generator left no report:\n{self.log.read_text()[-2000:]}")
        report: dict[str, Any] = json.loads(self.report_file.read_text())
        return {**report, "exit_code": self.process.returncode}


@dataclass
class Driver:
    inventories: Sequence[Path] = field(default_factory=lambda: [CHECKOUT / "inventories/lab"])
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(hosts.VAULT_PASSWORD),
            **self.settings,
        }

    # -- playbooks ------------------------------------------------------------------------------------------

    def command(self, playbook: str, *arguments: str, **extra: object) -> list[str]:
        line = [str(BIN / "ansible-playbook"), str(CHECKOUT / f"playbooks/{playbook}.yml")]
        for inventory in self.inventories:
            line += ["-i", str(inventory)]
        if extra:
            line += ["-e", json.dumps(extra)]
        return [*line, *arguments]

    def start(self, playbook: str, *arguments: str, **extra: object) -> subprocess.Popen[str]:
        """Starts a run in a process group of its own, so that a test can kill all of it."""
        return subprocess.Popen(
            self.command(playbook, *arguments, **extra),
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, playbook: str, *arguments: str, timeout: float = 1200, **extra: object) -> Run:
        started = time.monotonic()
        process = self.start(playbook, *arguments, **extra)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\nlab: killed after {timeout:.0f} s"
        seconds = time.monotonic() - started
        log = LOGS / f"{time.strftime('%H%M%S')}-{playbook}.log"
        log.write_text(output)
        return Run(process.returncode, output, seconds)

    def must(self, playbook: str, *arguments: str, **extra: object) -> Run:
        result = self.run(playbook, *arguments, **extra)
        if result.code != 0:
            raise LabError(f"{playbook} failed ({result.code}):\n{result.last_screen}")
        return result

    def lab(self, *arguments: str) -> None:
        line = [sys.executable, str(CHECKOUT / "lab/lab.py"), *arguments]
        if arguments[0] in ("up", "api"):
            for inventory in self.inventories:
                line += ["-i", str(inventory)]
        subprocess.run(line, cwd=CHECKOUT, env=self.environment, check=True)

    def publish(self, versions: Mapping[str, str]) -> None:
        """Puts versions of the reference API into the lab registry, each with its misbehaviour."""
        registry.publish(list(self.inventories), versions)

    # -- the world outside ----------------------------------------------------------------------------------

    def variables(self) -> dict[str, dict[str, Any]]:
        return hosts.variables_of(list(self.inventories))

    def group(self, name: str) -> list[str]:
        """Hosts of an inventory group."""
        line = [str(BIN / "ansible"), name, "--list-hosts", *[a for i in self.inventories for a in ("-i", str(i))]]
        result = subprocess.run(line, capture_output=True, text=True, check=True, cwd=CHECKOUT, env=self.environment)
        return [host.strip() for host in result.stdout.splitlines()[1:]]

    def addresses(self, group: str) -> list[str]:
        variables = self.variables()
        return [str(variables[host]["signalbox_address"]) for host in self.group(group)]

    def secret(self, scope: str, name: str) -> str:
        """A secret, as the operator reads it."""
        return secret_values.read(list(self.inventories), scope, name)

    def api_key(self) -> str:
        """What a client of the first app is given."""
        return self.secret("agent-api", "client_key" if self.group("vault") else "API_KEY")

    def authority(self) -> Path:
        """The lab's certificate authority, fetched from an edge."""
        target = STATE / "ca.crt"
        with target.open("w") as out:
            subprocess.run(
                ["docker", "exec", "signalbox-" + self.edge_name(), "cat", "/etc/signalbox/tls/ca.crt"],
                stdout=out,
                check=True,
            )
        return target

    def edge_name(self) -> str:
        return self.group("edge")[0]

    @contextlib.contextmanager
    def load(self, *arguments: str, targets: Sequence[str] | None = None, keys: Path | None = None) -> Iterator[Load]:
        """Runs the load generator beside the block; the block calls `stop` or `wait` for the report.

        Its clients send the keys of the file `keys` in turns, read again when it changes; without it, the app's own.
        """
        stamp = f"{time.time_ns()}"
        stop_file, report, log = (LOGS / f"load-{stamp}.{kind}" for kind in ("stop", "json", "log"))
        line = [sys.executable, str(CHECKOUT / "tests/e2e/load.py")]
        for target in targets or self.addresses("edge"):
            line += ["--target", target]
        line += ["--host", DOMAIN, "--ca", str(self.authority())]
        line += ["--api-key-file", str(keys)] if keys else ["--api-key-env", "SIGNALBOX_API_KEY"]
        line += ["--stop-file", str(stop_file), "--report", str(report), *arguments]
        environment = {**self.environment, "SIGNALBOX_API_KEY": self.api_key()}
        with log.open("w") as out:
            process = subprocess.Popen(line, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield Load(process, stop_file, report, log)
        finally:
            if process.poll() is None:
                process.kill()
