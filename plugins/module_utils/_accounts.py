# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of local accounts: the commands that turn the accounts a host has into those that are declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """An account as the host has it; groups are the supplementary ones."""

    shell: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Wish:
    """A declared account; None leaves the host's value alone."""

    name: str
    present: bool = True
    groups: frozenset[str] | None = None
    shell: str | None = None


def plan(wishes: Sequence[Wish], accounts: Mapping[str, Account], groups: frozenset[str]) -> list[list[str]]:
    """Commands in the order in which they have to run; empty when nothing differs."""
    missing = sorted({group for wish in wishes if wish.present for group in wish.groups or ()} - groups)
    commands = [["groupadd", "--system", group] for group in missing]
    for wish in wishes:
        commands += _account_commands(wish, accounts.get(wish.name), groups)
    return commands


def _account_commands(wish: Wish, account: Account | None, groups: frozenset[str]) -> list[list[str]]:
    if not wish.present:
        # --force: an open session of somebody who left must not keep the account alive.
        return [["userdel", "--force", wish.name]] if account else []
    if account is None:
        own_group = ["--gid", wish.name] if wish.name in groups else []
        supplementary = ["--groups", ",".join(sorted(wish.groups))] if wish.groups else []
        return [
            ["useradd", "--create-home", "--shell", wish.shell or "/bin/bash", *own_group, *supplementary, wish.name]
        ]
    changes: list[str] = []
    if wish.shell is not None and wish.shell != account.shell:
        changes += ["--shell", wish.shell]
    if wish.groups is not None and wish.groups != account.groups:
        changes += ["--groups", ",".join(sorted(wish.groups))]
    return [["usermod", *changes, wish.name]] if changes else []


def describe(wishes: Sequence[Wish], accounts: Mapping[str, Account]) -> dict[str, dict[str, object]]:
    """State of the declared accounts, for a diff."""
    found = {wish.name: accounts[wish.name] for wish in wishes if wish.name in accounts}
    return {name: {"shell": account.shell, "groups": sorted(account.groups)} for name, account in found.items()}
