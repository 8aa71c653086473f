"""The progress display: texts as tables, then real ansible-playbook runs in a plain log and on a terminal."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _progress as texts

HIDDEN = "the result is hidden because of no_log"
CHECKOUT = Path(__file__).resolve().parents[2]

INVENTORY = f"""
[all]
app1
app2
state1
[all:vars]
ansible_connection=local
ansible_python_interpreter={sys.executable}
[away]
gone ansible_connection=ssh ansible_host=127.0.0.1 ansible_port=1 ansible_ssh_common_args='-o BatchMode=yes'
"""

REPORT = {
    "verdict": "fail",
    "reason": "3 of 5 answers were 500",
    "warnings": [],
    "last_answer": {"status": 500, "body": '{"status": "degraded"}'},
    "container_log": ["starting", "\x1b[31mcannot reach redis\x1b[0m"],
}

SCENARIO = """
- name: Preflight
  hosts: app1:app2
  gather_facts: false
  tasks:
    - name: Quiet step
      ansible.builtin.command: "true"
      changed_when: false
    - name: Tell people
      ansible.builtin.debug: {msg: "first line\\nsecond line"}
    - name: Include a role
      ansible.builtin.include_role: {name: included}
    - name: Write files
      ansible.builtin.copy: {dest: "{{ playbook_dir }}/{{ inventory_hostname }}{{ item }}", content: x, mode: "0644"}
      loop: [1, 2, 3]
- name: Deploy
  hosts: app1:app2
  gather_facts: false
  tasks:
    - name: "Phase: Start green"
      ansible.builtin.command: "sleep {{ 0.1 if inventory_hostname == 'app1' else 3.5 }}"
      changed_when: false
    - name: Hide a secret
      ansible.builtin.command: echo SECRETVALUE
      no_log: true
    - name: Fail over a secret
      ansible.builtin.command: sh -c 'echo SECRETVALUE; exit 1'
      no_log: true
      ignore_errors: true
    - name: Fail some items
      ansible.builtin.command: "sh -c 'exit {{ item }}'"
      loop: [0, 3]
      ignore_errors: true
      changed_when: false
    - name: Slow and nothing to say
      ansible.builtin.command: sleep 4.1
      changed_when: false
    - name: Guarded
      block:
        - name: "Phase: Health gate of green"
          gate:
          delegate_to: state1
      rescue:
        - name: Put traffic back
          ansible.builtin.command: "true"
        - name: Give up
          ansible.builtin.fail: {msg: "Traffic stays on blue.\\nThe release failed."}
"""

GATE = f"""#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={{}}, supports_check_mode=True).fail_json(msg="green is not healthy", report={REPORT!r})
"""


def prepare(path: Path, playbook: str) -> Path:
    (path / "library").mkdir()
    (path / "library" / "gate.py").write_text(GATE)
    (path / "roles" / "included" / "tasks").mkdir(parents=True)
    (path / "roles" / "included" / "tasks" / "main.yml").write_text(
        "- name: Change in a role\n  ansible.builtin.command: 'true'\n"
    )
    (path / "inventory").write_text(INVENTORY)
    (path / "play.yml").write_text(playbook)
    return path


def command(path: Path, *arguments: str) -> list[str]:
    binary = Path(sys.executable).with_name("ansible-playbook")
    return [str(binary), "-i", str(path / "inventory"), str(path / "play.yml"), *arguments]


def environment(path: Path, **more: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "SIGNALBOX_"))}
    return {
        **inherited,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".collections"),
        "ANSIBLE_LIBRARY": str(path / "library"),
        "ANSIBLE_STDOUT_CALLBACK": "signalbox.platform.progress",
        "ANSIBLE_ANY_ERRORS_FATAL": "false",
        "ANSIBLE_HOME": str(path / "ansible"),
        "TERM": "xterm",
        "SIGNALBOX_PROGRESS_SLOW_SECONDS": "4",
        "SIGNALBOX_PROGRESS_WAIT_SECONDS": "1",
        "SIGNALBOX_PROGRESS_JSON_PATH": str(path / "events.jsonl"),
        **more,
    }


def run(path: Path, *arguments: str, **more: str) -> str:
    done = subprocess.run(
        command(path, *arguments),
        env=environment(path, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout + done.stderr


def on_terminal(path: Path, *arguments: str, interrupt_at: str = "", **more: str) -> str:
    """Run on a terminal of its own and return every byte it was sent."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(command(path)[0], command(path, *arguments), environment(path, **more))
    seen = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                break
            if not piece:
                break
            seen += piece
        if interrupt_at and interrupt_at in seen.decode(errors="replace"):
            interrupt_at = ""
            os.kill(process, signal.SIGINT)
    else:
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(terminal)
    return seen.decode()


def screen(raw: str) -> list[str]:
    """What stays to be read: carriage returns and line erasures done, colours taken off."""
    lines = []
    for line in raw.replace("\r\n", "\n").split("\n"):
        line = re.split(r"\r\x1b\[2K", line)[-1]
        lines.append(re.sub(r"\x1b\[[0-9;]*m", "", line))
    return lines


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("scenario"), SCENARIO)


@pytest.fixture(scope="module")
def log(scenario: Path) -> str:
    return run(scenario)


@pytest.fixture(scope="module")
def terminal(scenario: Path, log: str) -> str:
    for name in scenario.glob("app*"):
        name.unlink()
    return on_terminal(scenario)


# ---- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Phase: Start green", ("Start green", True)),
        ("edge : Phase: Switch", ("Switch", True)),
        ("edge : Install", ("edge : Install", False)),
        ("A Phase: in between", ("A Phase: in between", False)),
    ],
)
def test_phase_name(name: str, expected: tuple[str, bool]) -> None:
    assert texts.phase_name(name) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(-3, "0:00"), (9.9, "0:09"), (75, "1:15"), (3725, "1:02:05")])
def test_clock(seconds: float, expected: str) -> None:
    assert texts.clock(seconds) == expected


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [([], ""), (["a", "b"], "a, b"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_host_list(hosts: list[str], expected: str) -> None:
    assert texts.host_list(hosts) == expected


def test_a_live_line_never_wraps() -> None:
    view = texts.TaskView("u", "Prüfe 漢字 " * 20, True, 0.0, running={"app2": 0.0}, hosts=["app1", "app2"])
    for columns in (10, 40, 80):
        assert texts.width(texts.live_line(view, 12.0, columns)) <= columns
    short = texts.TaskView("u", "Start green", True, 0.0, running={"app2": 0.0}, hosts=["app1", "app2"])
    assert texts.live_line(short, 12.0, 99) == "⏳ Start green on 2 hosts · 0:12 · waiting for app2"


def test_a_report_becomes_a_table() -> None:
    lines = texts.failure_lines({"msg": "green is not healthy\nlook at it", "report": REPORT})
    assert lines == [
        "green is not healthy",
        "look at it",
        "verdict   FAIL",
        "reason    3 of 5 answers were 500",
        'last      status=500 body={"status": "degraded"}',
        "log       starting",
        "          cannot reach redis",
    ]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"censored": "hidden", "msg": "SECRET"}, [HIDDEN]),
        ({}, ["failed without a message (run again with -vvv)"]),
        ({"msg": "a\rb"}, ["a", "b"]),
        ({"msg": "no", "rc": 2, "stderr": "why\n"}, ["no", "exit code 2", "stderr    why"]),
        ({"msg": "2 mistakes", "problems": ["a: is wrong", "b: too"]}, ["2 mistakes", "1. a: is wrong", "2. b: too"]),
        ({"msg": "found\n1. a: is wrong", "problems": ["a: is wrong"]}, ["found", "1. a: is wrong"]),
    ],
)
def test_failure_lines(result: dict[str, Any], expected: list[str]) -> None:
    assert texts.failure_lines(result) == expected


def test_a_failed_item_names_itself_unless_it_is_hidden() -> None:
    assert texts.item_lines({"item": 2, "msg": "no"}) == ["item 2", "  no"]
    assert texts.item_lines({"item": "SECRET", "censored": "x"}) == ["item (hidden)", f"  {HIDDEN}"]


def test_long_lines_break_between_words_and_indent() -> None:
    assert texts.wrapped(["log       " + "word " * 6], 24) == ["log       word word word", "  word word word"]


# ---- plain log -----------------------------------------------------------------------------------------------------


def test_sections_phases_and_quiet_steps(log: str) -> None:
    assert "\n▸ Preflight\n" in log
    assert "✔ Quiet step" not in log
    assert "TASK [" not in log
    assert re.search(r"✔ Write files +\d:\d\d  changed app[12], app[12] · 6 items", log)
    assert re.search(r"✔ included : Change in a role .*changed", log)
    assert log.count("first line\n    second line") == 1, "the same words of two hosts are told once"
    assert "  ▶ Start green\n" in log
    assert re.search(r"… Start green: still waiting for app2 \(0:0\d\)", log)
    assert re.search(r"✔ Start green +0:0\d  ok app1, app2", log)
    assert re.search(r"✔ Slow and nothing to say +0:0\d  ok", log)


def test_nothing_hidden_is_shown(log: str, terminal: str, scenario: Path) -> None:
    assert "SECRETVALUE" not in log + terminal + (scenario / "events.jsonl").read_text()
    assert "the result is hidden because of no_log" in log
    assert re.search(r"✔ Hide a secret", log)


def test_a_rescued_failure_and_its_report(log: str) -> None:
    assert "↺ Health gate of green · app1 -> state1 · failed, rescued after" in log
    assert "      verdict   FAIL\n" in log
    assert "                cannot reach redis\n" in log
    assert "item 3" in log


def test_the_last_screen_holds_the_reason(log: str) -> None:
    recap = log[log.index("▸ Recap") :]
    assert re.search(r"\d:\d\d  Preflight\n +\d:\d\d  Deploy\n", recap)
    assert re.search(r"app1 +ok \d+ +changed \d+ +failed 1 rescued 1", recap)
    cause, end = recap.index("↺ Health gate of green"), recap.index("✘ Give up · app1, app2 · FAILED")
    assert recap.index("✘ FAILED after") < cause < end
    assert "      Traffic stays on blue.\n      The release failed.\n" in recap[end:]


def test_a_plain_log_has_no_control_characters(log: str) -> None:
    assert "\x1b" not in log
    assert "\r" not in log
    assert "⏳" not in log


def test_events(log: str, scenario: Path) -> None:
    events = [json.loads(line) for line in (scenario / "events.jsonl").read_text().splitlines()]
    assert {event["event"] for event in events} == {"start", "play", "task", "result", "summary"}
    failed = next(event for event in events if event.get("status") == "rescued")
    assert "green is not healthy" in failed["msg"]
    summary = next(event for event in events if event["event"] == "summary")
    assert summary["result"] == "failed"
    assert {item["task"] for item in summary["failures"]} == {"Give up"}
    assert [event["name"] for event in events if event.get("phase")][:2] == ["Start green", "Health gate of green"]


# ---- terminal ------------------------------------------------------------------------------------------------------


def test_the_live_line_tells_who_is_waited_for(terminal: str) -> None:
    assert re.search(r"⏳ Start green on 2 hosts · 0:0[1-9] · waiting for app2", terminal)
    assert "▶" not in terminal
    left = screen(terminal)
    assert not [line for line in left if "⏳" in line], "no live line stays behind"
    assert "  Recap" not in left
    assert any(line.startswith("  ✔ Start green") for line in left)


def test_colours_can_be_switched_off(scenario: Path, terminal: str) -> None:
    assert re.search(r"\x1b\[[0-9;]+m", terminal)
    assert not re.search(r"\x1b\[[0-9;]*m", on_terminal(scenario, "--limit", "app1", ANSIBLE_NOCOLOR="1"))


def test_an_interrupt_leaves_a_clean_terminal(tmp_path: Path) -> None:
    prepare(tmp_path, "- hosts: app1\n  gather_facts: false\n  tasks: [{name: 'Phase: Wait', command: sleep 20}]\n")
    raw = on_terminal(tmp_path, interrupt_at="0:01 · waiting for app1")
    left = screen(raw)
    assert not [line for line in left if "⏳" in line]
    assert any(re.match(r"Interrupted at Wait after 0:0\d, waiting for app1", line) for line in left)
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["result"] == "interrupted"


# ---- modes ---------------------------------------------------------------------------------------------------------

SMALL = """
- name: Small
  hosts: app1:app2
  gather_facts: false
  strategy: STRATEGY
  tasks:
    - name: Write
      ansible.builtin.copy: {dest: "{{ playbook_dir }}/{{ inventory_hostname }}", content: "new\\n", mode: "0644"}
    - name: Look
      ansible.builtin.command: "true"
      changed_when: false
    - name: Retry
      ansible.builtin.command: "test -e {{ playbook_dir }}/there-{{ inventory_hostname }}"
      changed_when: false
      register: tried
      until: tried.rc == 0
      retries: 2
      delay: 1
      failed_when: false
"""


def small(path: Path, strategy: str = "linear") -> Path:
    return prepare(path, SMALL.replace("STRATEGY", strategy))


def test_check_and_diff(tmp_path: Path) -> None:
    output = run(small(tmp_path), "--check", "--diff")
    assert "Check mode: nothing is changed" in output
    assert "  ± Write · app1\n--- before\n+++ after: " in output
    assert "\n+new\n" in output
    assert output.rstrip().endswith("(check mode: nothing was changed)")
    assert not (tmp_path / "app1").exists()


def test_verbose_shows_results_like_default(tmp_path: Path) -> None:
    output = run(small(tmp_path), "-v")
    assert "TASK [Look] ***" in output
    assert 'ok: [app1] => {"changed": false' in output
    assert "FAILED - RETRYING: [app1]: Retry" in output
    assert "PLAY RECAP ***" in output
    assert "✔ Done in" in output


def test_free_strategy(tmp_path: Path) -> None:
    output = run(small(tmp_path, "free"))
    assert re.search(r"✔ Write +0:0\d  changed app1\n", output)
    assert re.search(r"✔ Write +0:0\d  changed app2\n", output)
    assert "✔ Done in" in output
    assert "2 hosts · 2 changes" in output
    assert re.search(r"Retry: still waiting for app[12] \(0:0\d, try \d of \d\)", output)


def test_an_unreachable_host(tmp_path: Path) -> None:
    play = "- name: Reach\n  hosts: app1:gone\n  gather_facts: false\n  tasks: [{name: Ping, ansible.builtin.ping: }]\n"
    output = run(prepare(tmp_path, play))
    assert "✘ Ping · gone · UNREACHABLE after" in output
    assert re.search(r"gone +ok 0 +changed 0 +unreachable 1", output)
    assert "✘ FAILED after" in output
    assert output.rindex("Connection refused") > output.index("▸ Recap")


def test_serial_batches_are_one_play_in_the_recap(tmp_path: Path) -> None:
    play = "- name: Roll\n  hosts: app1:app2\n  serial: 1\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: }]\n"
    output = run(prepare(tmp_path, play))
    assert "\n▸ Roll\n" in output
    assert "\n▸ Roll · batch 2\n" in output
    assert len(re.findall(r"\d:\d\d  Roll", output[output.index("▸ Recap") :])) == 1
