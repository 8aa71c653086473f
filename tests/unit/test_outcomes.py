"""How apps are opened after work on the database: as restored only where that work says that it came to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


def plays(playbook: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PLAYBOOKS / playbook).read_text())
    return found


def play(playbook: str, name: str) -> dict[str, Any]:
    return next(entry for entry in plays(playbook) if entry["name"] == name)


def rendered(text: str, **variables: Any) -> Any:
    return Templar(DataLoader(), variables=variables).template(trust_as_template(text))


@pytest.mark.parametrize(
    ("playbook", "prefix"), [("restore.yml", "pgbackrest_restore"), ("refresh_staging.yml", "postgresql_load")]
)
@pytest.mark.parametrize(
    ("facts", "failure"),
    [
        ({}, "how it ended is not known"),
        ({"failure": "no room"}, "no room"),
        ({"failure": ""}, "how it ended is not known"),
        ({"done": False}, "how it ended is not known"),
        ({"done": True}, ""),
    ],
)
def test_only_an_explicit_success_is_one(playbook: str, prefix: str, facts: dict[str, Any], failure: str) -> None:
    known = {f"{prefix}_{name}": value for name, value in facts.items()}
    variables = play(playbook, "Open the apps")["tasks"][0]["vars"]
    database = {"db": known}
    groups = {"postgresql": ["db"]}
    opened = trust_as_template(variables["__database"])
    said = rendered(variables["release_hold_failure"], __database=opened, hostvars=database, groups=groups)
    assert said == failure
    ends = play(playbook, "How it ended")["tasks"][0]
    assert rendered("{{ " + ends["when"] + " }}", **known) is (failure != "")


def test_staging_is_loaded_before_an_app_is_closed_and_only_exchanged_while_it_is() -> None:
    names = [entry["name"] for entry in plays("refresh_staging.yml")]
    assert names.index("Load beside the database that serves") < names.index("Close the apps")
    assert names.index("Close the apps") < names.index("Exchange") < names.index("Open the apps")
    assert play("refresh_staging.yml", "Load beside the database that serves")["any_errors_fatal"] is True
