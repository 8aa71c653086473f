"""What is watched, whom Prometheus asks, what a host tells of itself, and runbooks."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.signalbox.platform.plugins.module_utils import _monitoring, _wiring
from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import normalise_apps

CHECKOUT = Path(__file__).resolve().parents[2]
RULES = CHECKOUT / "roles/prometheus/templates/etc/prometheus/rules"
RUNBOOKS = CHECKOUT / "docs/runbooks"
HOST_FACTS = CHECKOUT / "roles/telemetry/files/usr/local/lib/signalbox/host-facts"
SPECS = normalise_apps(
    {
        "shop": {
            "image": "registry.test/shop",
            "port": 54000,
            "domains": ["shop.example.com", "www.example.com"],
            "health": {"path": "/health"},
            "objectives": {"availability_percent": 99.5},
        },
        "plain": {
            "image": "registry.test/plain",
            "port": 54100,
            "domains": ["plain.example.com"],
            "health": {"path": "/up"},
            "tls": {"source": "acme"},
        },
    }
)
GROUPS = {
    "all": ["edge1", "data1", "data2", "vault1", "mon1"],
    "edge": ["edge1"],
    "postgresql": ["data1"],
    "postgresql_standby": ["data2"],
    "vault": ["vault1"],
    "monitoring": ["mon1"],
}
ADDRESSES = {
    "edge1": "10.0.0.11",
    "data1": "10.0.0.31",
    "data2": "10.0.0.32",
    "vault1": "fd00::51",
    "mon1": "10.0.0.61",
}
INPUTS = _monitoring.prometheus_inputs(SPECS, GROUPS, ADDRESSES, "mon1")
JOBS: dict[str, Any] = {scrape["job"]: scrape for scrape in INPUTS["scrapes"]}


def addresses(job: str) -> list[str]:
    return [target["address"] for target in JOBS[job]["targets"]]


# ---- what is watched -----------------------------------------------------------------------------------------------


def test_every_exporter_that_a_host_runs_is_read() -> None:
    for host, address in ADDRESSES.items():
        groups = [group for group, hosts in GROUPS.items() if host in hosts]
        assert set(_monitoring.exporters(groups)) <= set(JOBS)
        for name, port in _wiring.metrics_ports(groups):
            assert f"{f'[{address}]' if ':' in address else address}:{port}" in addresses(name)
    assert addresses("postgresql") == ["10.0.0.31:9187", "10.0.0.32:9187"]
    assert "redis" not in JOBS, "nobody runs it"
    hosts = {target["labels"]["host"] for scrape in INPUTS["scrapes"] for target in scrape["targets"]}
    assert hosts == set(GROUPS["all"])


def test_every_app_is_asked_at_every_edge_by_its_first_name() -> None:
    assert JOBS["app_health"]["targets"] == [
        {"address": "https://10.0.0.11/health", "name": "shop.example.com", "labels": {"app": "shop", "host": "edge1"}}
    ]
    assert JOBS["app_health_public"]["probe"] == "https_public"
    assert addresses("app_health_public") == ["https://10.0.0.11/up"]


def test_a_rule_about_what_is_missing_does_not_speak_of_what_never_was() -> None:
    assert "vault" in INPUTS["packs"]
    assert {"redis", "backup"} & set(INPUTS["packs"]) == set()
    defaults = yaml.safe_load((CHECKOUT / "roles/prometheus/defaults/main.yml").read_text())
    assert list(_monitoring.PACKS) == defaults["prometheus_packs"]
    assert {f"signalbox_{pack}.yml.j2" for pack in _monitoring.PACKS} == {path.name for path in RULES.iterdir()}


def test_objectives_come_from_the_spec() -> None:
    assert INPUTS["objectives"] == {"shop": 99.5, "plain": 99.9}


def test_metrics_are_open_to_who_reads_them_and_to_nobody_where_none_does() -> None:
    def ports(readers: list[str]) -> dict[int, list[str]]:
        found = _wiring.open_ports({}, ["edge", "redis"], {"monitoring": readers}, [], [])
        return {entry["port"]: entry["sources"] for entry in found if entry.get("comment", "").startswith("metrics")}

    assert ports([]) == {}
    assert ports(["10.0.0.61"]) == {key: ["10.0.0.61/32"] for key in (9100, 9256, 9121, 9145)}
    names = [request["name"] for request in _wiring.host_certificates({}, [], "h", "10.0.0.1", "", monitoring=True)]
    assert names == ["telemetry"]
    assert _wiring.host_certificates({}, [], "h", "10.0.0.1", "") == []


# ---- what a host tells of itself -----------------------------------------------------------------------------------


def samples(tmp_path: Path) -> dict[str, float]:
    target = tmp_path / "facts.prom"
    command = [sys.executable, str(HOST_FACTS), str(tmp_path), str(tmp_path / "releases"), str(target)]
    subprocess.run(command, check=True)
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in target.read_text().splitlines())}


def test_certificates_are_measured_and_what_is_none_is_told(tmp_path: Path) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=x -keyout k -out a.crt"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "b.crt").write_text("no certificate")
    found = samples(tmp_path)
    assert found['signalbox_certificate_readable{name="a"}'] == 1
    assert found['signalbox_certificate_readable{name="b"}'] == 0
    end = found['signalbox_certificate_not_after_timestamp_seconds{name="a"}']
    assert end - found['signalbox_certificate_not_before_timestamp_seconds{name="a"}'] == 30 * 86400
    assert abs(end - time.time() - 30 * 86400) < 60
    assert not any("not_after" in name and '"b"' in name for name in found)


def test_releases_are_told_by_their_last_whole_line(tmp_path: Path) -> None:
    shop, other = (tmp_path / "releases" / name for name in ("shop", "other"))
    for directory in (shop, other):
        directory.mkdir(parents=True)
    (shop / "ledger.jsonl").write_text(
        '{"result": "committed", "time": "2026-11-27T10:00:00.000Z"}\n'
        '{"result": "failed", "time": "2026-11-27T11:00:00.000Z"}\n{"result": "comm'
    )
    closed = tmp_path / "releases/closed"
    closed.mkdir()
    (closed / "ledger.jsonl").write_text('{"result": "restored", "time": "2026-11-27T10:00:00.000Z"}\n')
    (other / "journal.jsonl").write_text('{"time": "2026-11-27T12:00:00.000Z"}\n{"time": "2026-11-27T12:01:00.000Z"}\n')
    (other / "ledger.jsonl").write_text("")
    found = samples(tmp_path)
    assert found['signalbox_release_success{app="shop"}'] == 0
    assert found['signalbox_release_timestamp_seconds{app="shop"}'] == 1795777200
    assert found['signalbox_release_unfinished_since_timestamp_seconds{app="other"}'] == 1795780800
    assert 'signalbox_release_success{app="other"}' not in found
    assert found['signalbox_release_success{app="closed"}'] == 1, "a restore that went well is no failed release"


# ---- metrics of other programs that rules go by --------------------------------------------------------------------


def used(prefix: str) -> set[str]:
    text = "".join(path.read_text() for path in RULES.iterdir())
    return set(re.findall(rf"\bsignalbox_{prefix}_\w+", text))


@pytest.mark.parametrize(
    ("prefix", "sources"),
    [
        ("vault", ["vault/files/usr/local/libexec/signalbox/vault-care"]),
        ("backup", ["pgbackrest/files/usr/local/lib/signalbox/backup"]),
        ("state", ["restic/files/usr/local/lib/signalbox/state"]),
        ("standby", ["postgresql_standby/files/usr/local/lib/signalbox/standby"]),
    ],
)
def test_metrics_that_rules_use_are_written_by_their_program(prefix: str, sources: list[str]) -> None:
    paths = [CHECKOUT / "roles" / source for source in sources]
    files = [file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]
    text = "\n".join(file.read_text() for file in files)
    wanted = used(prefix)
    assert wanted
    for metric in wanted:
        # A program names the metric itself, or the record (backup_drill) and, elsewhere, its field (success).
        parts = metric.removeprefix("signalbox_").split("_")
        splits = [("_".join(parts[:n]), "_".join(parts[n:])) for n in range(1, len(parts))]
        written = metric in text or any(
            re.search(rf'"{record}"|signalbox_{record}\b|signalbox_{record}_\{{', text)
            and re.search(rf'"{name}"|^    {name}: |^ +{name}=', text, re.MULTILINE)
            for record, name in splits
        )
        assert written, metric


# ---- runbooks ------------------------------------------------------------------------------------------------------


def alerts_by_runbook() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in RULES.iterdir():
        for block in path.read_text().split("- alert: ")[1:]:
            runbook = re.search(r'runbook_url: "\[\[ prometheus_runbooks \]\]/([\w-]+\.md)"', block)
            assert runbook, block
            found.setdefault(runbook[1], set()).add(block.split("\n", 1)[0])
    return found


def test_every_alert_has_a_runbook_that_names_it() -> None:
    told = {path.name: set(re.findall(r"`(\w+)`", path.read_text().split("\n")[1])) for path in RUNBOOKS.glob("*.md")}
    assert told == alerts_by_runbook()


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_is_whole_and_names_what_exists(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == [
        "Meaning",
        "Impact",
        "Diagnose",
        "Fix",
        "Verify",
        "Prevent",
    ]
    for playbook in re.findall(r"playbooks/\w+\.yml", text):
        assert (CHECKOUT / playbook).is_file(), playbook
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (RUNBOOKS / link).is_file(), link
    shipped = {file.name.removesuffix(".j2") for file in (CHECKOUT / "roles").rglob("signalbox-*")}
    units = set(re.findall(r"\bsignalbox-(?!edge/|vault\.)[a-z-]+[a-z]\b(?![-/.*]\w)", text))
    own = {unit for unit in units if not any(name.startswith(f"{unit}.") for name in shipped)}
    assert own <= {"signalbox-administrator"}, own


def test_thresholds_that_rules_use_are_those_that_there_are() -> None:
    rules = "".join(path.read_text() for path in RULES.iterdir())
    known = yaml.safe_load((CHECKOUT / "roles/prometheus/vars/main.yml").read_text())["__prometheus_thresholds"]
    assert set(re.findall(r"limits\.(\w+)", rules)) == set(known)
    page = (CHECKOUT / "docs/monitoring.md").read_text()
    assert {name: f"{value:g}" for name, value in known.items()} == dict(
        re.findall(r"^\| `(\w+)` \| ([\d.e+]+) \|", page, re.MULTILINE)
    )
