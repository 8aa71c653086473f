"""Who read a secret, from lines of the audit log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.signalbox.platform.plugins.module_utils import _vault_audit as audit

PATH = "signalbox/data/apps/agent-api/secrets"


def line(time: str, role: str = "host-app1", path: str = PATH, address: str = "10.0.0.21", **more: Any) -> str:
    entry: dict[str, Any] = {
        "time": time,
        "type": "response",
        "auth": {"display_name": "approle", "metadata": {"role_name": role}},
        "request": {"operation": "read", "path": path, "remote_address": address},
    }
    return json.dumps({**entry, **more})


def test_reads_are_added_up_by_identity_and_address() -> None:
    log = [
        line("2026-11-23T10:00:02.5Z"),
        line("2026-11-23T10:00:01Z"),
        line("2026-11-23T10:00:03Z", role="host-app2", address="10.0.0.22"),
        line("2026-11-23T10:00:04Z", address="10.0.0.99", error="permission denied"),
        line("2026-11-23T10:00:05Z", path=PATH + "/deeper"),
        line("2026-11-23T10:00:06Z", type="request"),
        line("2026-11-23T10:00:07Z")[:60],  # cut off
        line("2026-11-22T10:00:00Z"),
    ]
    found = [reader.report() for reader in audit.readers(log, [PATH], since="2026-11-23T00:00:00Z")]
    assert [(one["identity"], one["address"], one["reads"], one["refused"]) for one in found] == [
        ("host-app1", "10.0.0.21", 2, 0),
        ("host-app2", "10.0.0.22", 1, 0),
        ("host-app1", "10.0.0.99", 0, 1),
    ]
    assert (found[0]["first"], found[0]["last"]) == ("2026-11-23T10:00:01Z", "2026-11-23T10:00:02.5Z")


def test_a_login_without_a_role_is_named_as_vault_does() -> None:
    entry = line("2026-11-23T10:00:01Z", auth={"display_name": "root"})
    assert audit.readers([entry], [PATH])[0].identity == "root"


def test_reads_within_the_second_of_since_count_and_times_do_not_sort_as_text() -> None:
    log = [line(f"2026-11-23T10:00:0{time}") for time in ("2.000000001Z", "2Z", "1.999999999Z", "2.5Z")]
    found = audit.readers(log, [PATH], since="2026-11-23T10:00:02Z")[0]
    assert (found.reads, found.first, found.last) == (3, "2026-11-23T10:00:02Z", "2026-11-23T10:00:02.5Z")
    assert audit.readers(log, [PATH], since="2026-11-23T11:00:02.2+01:00")[0].reads == 1
    with pytest.raises(ValueError, match="'yesterday' is no time of RFC 3339"):
        audit.readers(log, [PATH], since="yesterday")


def test_what_two_devices_recorded_counts_once() -> None:
    request = {"operation": "read", "path": PATH, "remote_address": "10.0.0.21"}
    log = [line(f"2026-11-23T10:00:0{n // 2}Z", request={**request, "id": f"id-{n // 2}"}) for n in range(6)]
    assert audit.readers(log, [PATH])[0].reads == 3
