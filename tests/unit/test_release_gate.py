"""What a deploy makes of the gate's answer: whether it stops, what it runs, and what it says. By Ansible itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
UPGRADE = ["alembic", "upgrade", "head"]
ALEMBIC = {"tool": "alembic", "upgrade": UPGRADE, "plan": [], "checks": []}
COMMANDS = {"tool": "commands", "upgrade": ["run"], "plan": [], "checks": []}
NONE, TWO = {"stdout_lines": ["x", "SIGNALBOX-PENDING 0"]}, {"stdout_lines": ["SIGNALBOX-PENDING 2"]}
CONTRACT = {"deferred": ["c"], "target": "b", "revisions": [{"id": "b", "verdict": "run-now"}]}
STOPPED = '{{ __release_plan.lines | default([]) | join("\n") }}\n\n{{ __release_stopped }}'


def case(name: str, migrations: dict, accept: str = "", **registered: object) -> dict:
    given = {f"__release_{key}": value for key, value in registered.items() if key != "that"}
    return {
        "name": name,
        "ansible.builtin.assert": {"that": registered["that"], "quiet": True},
        "vars": {"release_app": {"name": "api", "migrations": migrations}, "release_accept_migration": accept, **given},
    }


CASES = [
    case(
        "nothing is pending",
        ALEMBIC,
        pending=NONE,
        plan={"skipped": True},
        that=["not __release_must_migrate", "__release_verdict in __release_accepted_verdicts"],
    ),
    case(
        "commands of the app's own run all the same",
        {**ALEMBIC, "upgrade": ["sh", "-c", "more"]},
        pending=NONE,
        plan={"skipped": True},
        that=["__release_must_migrate"],
    ),
    case(
        "checks are run all the same",
        {**ALEMBIC, "checks": ["SELECT 1 WHERE false"]},
        pending=NONE,
        plan={"skipped": True},
        that=["__release_must_migrate", f"__release_upgrade == {UPGRADE}"],
    ),
    case(
        "held",
        ALEMBIC,
        pending=TWO,
        plan={"verdict": "hold", "lines": ["one", "two"]},
        that=["__release_must_migrate", "__release_verdict not in __release_accepted_verdicts"],
    ),
    case(
        "accepted up to undetermined",
        ALEMBIC,
        "undetermined",
        plan={"verdict": "hold"},
        that=["__release_accepted_verdicts == ['run-now', 'undetermined']"],
    ),
    case(
        "accepted",
        ALEMBIC,
        "hold",
        plan={"verdict": "hold", "report": {"revisions": [{"id": "b", "verdict": "hold"}]}},
        that=[
            "__release_verdict in __release_accepted_verdicts",
            "__release_judgement == {'verdict': 'hold', 'accepted': 'hold', 'revisions': ['b'], 'deferred': []}",
            f"__release_upgrade == {UPGRADE}",
        ],
    ),
    case(
        "up to the last one before a contract",
        ALEMBIC,
        pending=TWO,
        plan={"verdict": "run-now", "report": CONTRACT},
        that=["__release_must_migrate", "__release_upgrade == ['alembic', 'upgrade', 'b']"],
    ),
    case(
        "nothing but a contract",
        ALEMBIC,
        pending=TWO,
        plan={"verdict": "run-now", "report": {**CONTRACT, "target": ""}},
        that=["not __release_must_migrate"],
    ),
    case(
        "nothing but a contract, and checks",
        {**ALEMBIC, "checks": ["SELECT 1 WHERE false"]},
        pending=TWO,
        context={"context": {"live": ["a"]}},
        plan={"verdict": "run-now", "report": {**CONTRACT, "target": "", "revisions": []}},
        that=[
            "__release_must_migrate",
            "not __release_has_pending",
            "__release_upgrade == ['alembic', 'upgrade', 'a']",
        ],
    ),
    case(
        "nothing but a contract, and nothing else to do",
        ALEMBIC,
        pending=TWO,
        context={"context": {"live": ["a"]}},
        plan={"verdict": "run-now", "report": {**CONTRACT, "target": "", "revisions": []}},
        that=["not __release_must_migrate", "not __release_has_pending"],
    ),
    case(
        "no plan, and both revisions the same",
        COMMANDS,
        positions={"results": [{"stdout": "a\n"}, {"stdout": "a"}]},
        that=["not __release_may_be_pending", "__release_printed_revisions == []"],
    ),
    case(
        "no plan, and they differ",
        COMMANDS,
        printed={"skipped": True},
        positions={"results": [{"stdout": "a"}, {"stdout": "b"}]},
        that=["__release_may_be_pending", "'EXECUTE' in __release_printed_revisions[0].sql"],
    ),
    case(
        "a plan",
        {**COMMANDS, "plan": ["plan"]},
        printed={"stdout": "SELECT 1"},
        that=["__release_may_be_pending", "__release_printed_revisions[0].sql == 'SELECT 1'"],
    ),
    case(
        "an empty plan",
        {**COMMANDS, "plan": ["plan"]},
        printed={"stdout": " \n"},
        that=["not __release_may_be_pending"],
    ),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("gate")
    show = {
        "name": "the last screen",
        "ansible.builtin.debug": {"msg": STOPPED.replace('"\n"', "'\\n'")},
        "vars": {"release_app": {"name": "api"}, "__release_plan": {"verdict": "hold", "lines": ["one", "two"]}},
    }
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(CHECKOUT / "roles/release/vars/main.yml")],
        "vars": {"__release_kind": "deploy", "release_version": "1.0"},
        "tasks": [{**one, "ignore_errors": True} for one in CASES] + [show],
    }
    (folder / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_HOME": str(folder),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [program, "-i", "localhost,", "-c", "local", "play.yml"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", [one["name"] for one in CASES])
def test_what_a_deploy_makes_of_it(said: str, name: str) -> None:
    answer = said.split(f"TASK [{name}]")[1].split("TASK [")[0]
    assert "ok: [localhost]" in answer, answer
    assert "...ignoring" not in answer, answer


def test_the_last_screen_tells_that_nothing_was_changed_and_how_to_go_on(said: str) -> None:
    answer = " ".join(said.split("TASK [the last screen]")[1].split())
    for part in ("one", "two", "Nothing was changed: api serves as before", "-e accept_migration=hold"):
        assert part in answer
