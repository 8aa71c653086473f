"""Every alert: its parts, a case in which it fires and one in which it does not, and metrics that there are."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import promql_parser
import pytest
import testinfra
import yaml
from cases import CASES, promtool_files

testinfra_hosts = ["ansible://mon1"]

CHECKOUT = Path(__file__).parents[3]
RULES = "/etc/prometheus/rules"
# What programs of other hosts leave for the node exporter: tests/unit/test_monitoring.py runs those programs' own code.
ELSEWHERE = re.compile(r"^signalbox_(backup|state|standby|vault)_")


@pytest.fixture(scope="module")
def packs(host):
    """File -> its groups."""
    names = host.check_output(f"ls {RULES}").split()
    return {name: yaml.safe_load(host.file(f"{RULES}/{name}").content_string)["groups"] for name in names}


def rules_of(groups):
    return [rule for group in groups for rule in group["rules"]]


def alerts_of(groups):
    return [rule for rule in rules_of(groups) if "alert" in rule]


def test_every_alert_tells_who_what_and_where_to_read_on(packs):
    for alert in [alert for groups in packs.values() for alert in alerts_of(groups)]:
        name = alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning", "none"), name
        assert alert["labels"]["owner"], name
        assert alert["annotations"]["summary"], name
        runbook = alert["annotations"]["runbook_url"]
        assert runbook.startswith("https://example.com/runbooks/"), name
        assert (CHECKOUT / "docs/runbooks" / runbook.rsplit("/", 1)[1]).is_file(), f"{name}: {runbook}"


def test_every_alert_has_both_cases(packs):
    names = [alert["alert"] for groups in packs.values() for alert in alerts_of(groups)]
    assert sorted(names) == sorted(CASES)
    lacking = [name for name, case in CASES.items() if {"fires", "quiet"} - set(case)]
    assert lacking == ["Watchdog"]


def test_alerts_fire_in_the_one_case_and_not_in_the_other(host, packs):
    for name, groups in packs.items():
        alerts = [alert["alert"] for alert in alerts_of(groups)]
        for number, text in enumerate(promtool_files(f"{RULES}/{name}", alerts)):
            host.check_output(f"printf %s {shlex.quote(text)} > /root/cases{number}.yml")
        found = host.run("promtool test rules /root/cases*.yml; code=$?; rm /root/cases*.yml; exit $code")
        assert found.rc == 0, f"{name}:\n{found.stdout}{found.stderr}"


def metrics_in(expression):
    """Names of the metrics in a parsed expression."""
    found, todo = set(), [expression]
    while todo:
        node = todo.pop()
        if isinstance(node, (promql_parser.VectorSelector,)):
            found.add(node.name)
        todo += [
            child
            for name in ("expr", "lhs", "rhs", "vector_selector", "param")
            if (child := getattr(node, name, None)) is not None
        ]
        todo += list(getattr(node, "args", None) or ())
    return found - {None, ""}


def test_every_metric_of_the_rules_is_one_that_exporters_give(host, packs):
    serve = testinfra.get_host("docker://serve1")
    # Some are there only when there is something to count.
    serve.check_output("curl -sk --resolve api.test:443:127.0.0.1 https://api.test/refused-without-a-key")
    slot = "select pg_create_physical_replication_slot('unused') where not exists (select from pg_replication_slots)"
    serve.check_output(f'runuser -u postgres -- psql -c "{slot}"')
    rules = [rule for groups in packs.values() for rule in rules_of(groups)]
    used = set().union(*(metrics_in(promql_parser.parse(rule["expr"])) for rule in rules))
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert len(used) > 50

    def missing():
        answer = json.loads(host.check_output("curl -s http://127.0.0.1:9090/api/v1/label/__name__/values"))
        return {name for name in used - recorded - set(answer["data"]) if not ELSEWHERE.match(name)}

    deadline = time.monotonic() + 20
    while missing() and time.monotonic() < deadline:
        time.sleep(1)
    assert missing() == set()
