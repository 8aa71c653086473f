"""Every option that a playbook's head or the documentation names is one whose value is checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils._preflight import RUN_OPTIONS
from ansible_collections.signalbox.platform.plugins.module_utils._preflight_options import NAMES, read_by

ROOT = Path(__file__).resolve().parents[2]
OPERATION = re.compile(r"^    operation: (\w+)$", re.MULTILINE)
# Variables of roles, which their own specs check.
ROLES = re.compile(r"(vault|postgresql|edge)_")
CHECKED = {
    path: path.read_text() for path in sorted((ROOT / "playbooks").glob("*.yml")) if "operation: " in path.read_text()
}


def named(text: str) -> set[str]:
    return set(re.findall(r"-e ([a-z_]+)=", text))


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: path.stem)
def test_head_of_a_playbook_names_options_that_it_reads(path: Path) -> None:
    operation = OPERATION.search(CHECKED[path])
    if operation:
        known = {option.name for option in read_by(operation[1])} | set(RUN_OPTIONS)
        assert named(CHECKED[path]) - known == set()


def test_documented_options_are_known() -> None:
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "playbooks/group_vars/all").glob("*.yml")]
    found = {name for path in texts for name in named(path.read_text()) if not ROLES.match(name)}
    assert found - {*NAMES, *RUN_OPTIONS} == set()
