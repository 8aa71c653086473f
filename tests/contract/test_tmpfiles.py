"""Roles may share a host: of two tmpfiles.d lines for one directory only the first file's has an effect at boot."""

from __future__ import annotations

import re
from pathlib import Path

from tree import roles

CHECKOUT = Path(__file__).resolve().parents[2]


def conflicts(root: Path) -> list[str]:
    wanted: dict[str, tuple[str, str]] = {}
    problems = []
    for role in roles(root):
        for path in role.templates():
            if path.parent.name == "tmpfiles.d":
                for line in path.read_text(encoding="utf-8").splitlines():
                    entry = re.fullmatch(r"d (.+) (\d{4} \S+ \S+ \S+)", line)
                    if entry:
                        directory, rights = entry.groups()
                        other, found = wanted.setdefault(directory, (role.name, rights))
                        if found != rights:
                            problems.append(f"{directory}: {rights} in {role.name}, {found} in {other}")
    return problems


def test_roles_agree_about_shared_directories():
    assert conflicts(CHECKOUT) == []


def test_a_disagreement_is_seen(tmp_path):
    for role, mode in (("app", "0700"), ("edge", "0755")):
        file = tmp_path / f"roles/{role}/templates/etc/tmpfiles.d/{role}.conf"
        file.parent.mkdir(parents=True)
        file.write_text(f"# {role}\nd /run/signalbox {mode} root root -\nd /run/{role} 0700 root root -\n")
    assert conflicts(tmp_path) == ["/run/signalbox: 0755 root root - in edge, 0700 root root - in app"]
