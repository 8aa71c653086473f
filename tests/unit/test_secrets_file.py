"""secrets_file: its rules, and real plays on the controller."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.signalbox.platform.plugins.module_utils import _secrets_file as rules

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("value", "length"),
    [(48, 48), (16, 16), ({"generate": 20}, 20), ({}, 0), (None, 0), (0, 0), ({"generate": None}, 0)],
)
def test_length(value: object, length: int) -> None:
    assert rules.parse_length(value, "a.B") == length


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"a": {"B": 15}}, "wanted.a.B: length 15 is too short, the least is 16"),
        ({"a": {"B": -1}}, "too short"),
        ({"a": {"B": "48"}}, "whole number, not str"),
        ({"a": {"B": True}}, "whole number, not bool"),
        ({"a": {"B": {"size": 4}}}, "known key is generate"),
        ({"a": 48}, "wanted.a must map"),
        ([], "wanted must map"),
    ],
)
def test_wanted_mistakes(wanted: object, message: str) -> None:
    with pytest.raises(rules.SecretsFileError, match=re.escape(message)):
        rules.parse_wanted(wanted)


@pytest.mark.parametrize("document", ["text", [], {"v": "text"}, {"v": {"a": "text"}}])
def test_document_mistakes_do_not_quote_values(document: object) -> None:
    with pytest.raises(rules.SecretsFileError) as caught:
        rules.current_values(document, "v")
    assert "text" not in str(caught.value)


def test_merge_keeps_everything_and_adds_what_is_missing() -> None:
    document = {"other": [1], "v": {"a": {"KEPT": "k", "EMPTY": "", "NUMBER": 0}, "gone": {"X": "x"}, "none": None}}
    wanted = rules.parse_wanted({"a": {"KEPT": 16, "EMPTY": 17, "NEW": 18, "HAND": {}, "NUMBER": 16}, "b": {"N": 19}})
    new = rules.additions(rules.current_values(document, "v"), wanted)
    assert new.names(new.generate) == ["a.EMPTY", "a.NEW", "b.N"]
    assert new.names(new.missing) == ["a.HAND"]
    made = rules.merged(document, "v", wanted, new, make=lambda length: f"<{length}>")
    assert made == {
        "other": [1],
        "v": {
            "a": {"KEPT": "k", "EMPTY": "<17>", "NUMBER": 0, "NEW": "<18>"},
            "gone": {"X": "x"},
            "none": {},
            "b": {"N": "<19>"},
        },
    }
    assert document["v"]["a"]["EMPTY"] == ""


def test_generated_values() -> None:
    values = {rules.generate(40) for _ in range(50)}
    assert len(values) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", value) for value in values)


class Controller:
    def __init__(self, base: Path) -> None:
        self.base, self.file = base, base / "secrets.yml"
        (base / "password").write_text("one")
        (base / "other").write_text("two")
        self.options: dict = {"path": "secrets.yml", "wanted": {"api": {"KEY": 48, "BY_HAND": {}}, "db": {"owner": 32}}}

    def play(self, *arguments: str, password: str | None = "password", fails: bool = False) -> str:
        task = {"name": "Keep", "signalbox.platform.secrets_file": self.options}
        play = {"hosts": "all", "gather_facts": False, "tasks": [task]}
        (self.base / "play.yml").write_text(json.dumps([play]))
        given = ["--vault-password-file", password] if password else []
        command = [str(BIN / "ansible-playbook"), "-i", "h1.invalid,h2.invalid,", "play.yml", *given, *arguments]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",  # shows messages in full
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(command, cwd=self.base, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def decrypt(self, password: str = "password") -> dict:
        command = [str(BIN / "ansible-vault"), "view", "--vault-password-file", password, "secrets.yml"]
        return yaml.safe_load(subprocess.run(command, cwd=self.base, capture_output=True, check=True).stdout)


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def test_a_life(controller: Controller) -> None:
    out = controller.play("--check", "--diff", "-vvv")
    assert "db.owner generated" in out
    assert not controller.file.exists()

    out = controller.play("--diff", "-vvv")  # for two hosts at once: generated once
    assert "api.KEY generated" in out
    assert re.search(r'"missing": \[\s+"api.BY_HAND"', out)
    first = controller.decrypt()["signalbox_secrets"]
    assert {scope: {k: len(v) for k, v in names.items()} for scope, names in first.items()} == {
        "api": {"KEY": 48},
        "db": {"owner": 32},
    }
    assert oct(controller.file.stat().st_mode)[-3:] == "600"
    before = controller.file.read_bytes()
    assert before.startswith(b"$ANSIBLE_VAULT;1.1;AES256")

    again = controller.play("--diff", "-vvv")
    assert "changed=0" in again
    assert controller.file.read_bytes() == before

    controller.options["wanted"]["api"]["SECOND"] = 20
    more = controller.play("--diff", "-vvvv")
    second = controller.decrypt()["signalbox_secrets"]
    assert second["api"]["KEY"] == first["api"]["KEY"]
    assert len(second["api"]["SECOND"]) == 20
    assert sorted(path.name for path in controller.base.iterdir()) == ["other", "password", "play.yml", "secrets.yml"]
    for names in second.values():
        for value in names.values():
            assert all(value not in text for text in (out, again, more))


def test_without_a_password_it_says_how_to_give_one(controller: Controller) -> None:
    out = controller.play(password=None, fails=True)
    assert "no vault password was given" in out
    assert "--vault-password-file" in out
    assert not controller.file.exists()


def test_a_wrong_password_changes_nothing(controller: Controller) -> None:
    controller.play()
    before = controller.file.read_bytes()
    controller.options["wanted"]["api"]["MORE"] = 20
    assert "not to be decrypted with the vault passwords given" in controller.play(password="other", fails=True)
    assert controller.file.read_bytes() == before


def test_a_file_keeps_its_vault_id(controller: Controller) -> None:
    controller.options["vault_id"] = "prod"
    both = ["--vault-id", "dev@other", "--vault-id", "prod@password"]
    controller.play(*both, password=None)
    assert controller.file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;prod\n")
    del controller.options["vault_id"]
    controller.options["wanted"]["api"]["MORE"] = 20
    controller.play(*both, password=None)
    assert controller.file.read_bytes().startswith(b"$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert len(controller.decrypt()["signalbox_secrets"]["api"]["MORE"]) == 20


def test_a_file_in_clear_is_encrypted_and_kept(controller: Controller) -> None:
    controller.file.write_text(
        "other: 1\nsignalbox_secrets: {api: {KEY: mine, BY_HAND: given}, db: {owner: yes-mine}}\n"
    )
    assert "changed=1" in controller.play("--check", "--limit", "h1.invalid")
    assert controller.file.read_text().startswith("other")
    out = controller.play("--diff", "--limit", "h1.invalid")
    assert "encrypted" in out
    assert "yes-mine" not in out
    assert controller.decrypt() == {
        "other": 1,
        "signalbox_secrets": {"api": {"KEY": "mine", "BY_HAND": "given"}, "db": {"owner": "yes-mine"}},
    }


def test_broken_yaml_is_not_quoted(controller: Controller) -> None:
    controller.file.write_text("a: 1\nsignalbox_secrets: {api: {KEY: hidden-value, :\n")
    out = controller.play("-vvv", fails=True)
    assert "no valid YAML at line" in out
    assert "hidden-value" not in out
