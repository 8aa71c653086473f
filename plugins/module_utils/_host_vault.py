# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's own program for Vault, as modules call it, and what its answers mean for the host's identity."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HOST_VAULT = "/usr/local/libexec/signalbox/host-vault"
# Logging in and reading a handful of paths takes well under a second; the program's own attempts end sooner than this.
ANSWER_SECONDS = 120

# Exit codes of the program that modules tell apart.
NOT_INSTALLED, NOT_ENROLLED, DENIED, REFUSED, MISSING, TAMPERED = -1, 10, 14, 15, 16, 17


class SourceError(Exception):
    """The host could not get from Vault what it wanted; the message says why and how to mend it."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def ask_vault(arguments: list[str], given: Mapping[str, Any], program: str = HOST_VAULT) -> dict[str, Any]:
    """The program's answer; values travel on its standard input and output only."""
    try:
        result = subprocess.run(
            [program, *arguments],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        message = f"{program} is not on this host. Remedy: role vault_client installs it"
        raise SourceError(message, NOT_INSTALLED) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{program}: {type(error).__name__}: it did not run to its end") from None
    if result.returncode != 0:
        said = result.stderr.decode(errors="replace").strip()
        raise SourceError(said or f"{program} ended with {result.returncode}", result.returncode)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@dataclass(frozen=True)
class Identity:
    """What is known of a host's identity, and whether it needs another."""

    needs_enrolment: bool
    reason: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def judge(answer: Mapping[str, Any], renew: bool = False) -> Identity:
    """An identity that works: renewed on demand, or when less than a third of its life is left."""
    if renew:
        return Identity(True, "a new one was asked for", answer)
    if answer.get("renewal_due"):
        days = int(answer["remaining_seconds"]) // 86400
        return Identity(True, f"it ends in {days} days, less than a third of its life", answer)
    return Identity(False, "it is valid", answer)


def judge_failure(error: SourceError) -> Identity:
    """A host without a usable identity needs one; any other failure is one of Vault, which an enrolment cannot mend."""
    if error.code in (NOT_INSTALLED, NOT_ENROLLED, REFUSED):
        return Identity(True, str(error))
    raise error
