"""Settings that follow from memory, processors and disks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.signalbox.platform.plugins.module_utils._postgresql_tuning import (
    GIB,
    KIB,
    MIB,
    memory_budget,
    merged,
    override_problems,
    tuning,
)

UNITS = {"kB": KIB, "MB": MIB, "GB": GIB}


def size(value: object) -> int:
    match = re.fullmatch(r"(\d+)(kB|MB|GB)", str(value))
    assert match, value
    return int(match.group(1)) * UNITS[match.group(2)]


@pytest.mark.parametrize(
    ("total", "fraction", "stated", "expected"),
    [(8192, 0.25, 0, 2 * GIB), (8192, 1.0, 0, 8 * GIB), (8192, 0.25, GIB, GIB)],
)
def test_budget(total: int, fraction: float, stated: int, expected: int) -> None:
    assert memory_budget(total, fraction, stated) == expected


def test_a_host_of_its_own_with_8_gigabytes() -> None:
    found = tuning(8 * GIB, processors=4, max_connections=100)
    assert found["shared_buffers"] == "2048MB"
    assert found["effective_cache_size"] == "6144MB"
    assert found["maintenance_work_mem"] == "512MB"
    assert found["work_mem"] == "20MB"
    assert found["wal_buffers"] == "16MB"
    assert found["max_wal_size"] == "4GB"
    assert found["max_parallel_workers_per_gather"] == 2
    assert found["random_page_cost"] == 1.1


def test_a_small_share() -> None:
    found = tuning(256 * MIB, processors=1, max_connections=100)
    assert found["shared_buffers"] == "64MB"
    assert found["work_mem"] == "2048kB"
    assert found["maintenance_work_mem"] == "32MB"
    assert found["wal_buffers"] == "2048kB"
    assert found["max_wal_size"] == "2GB"
    assert found["max_parallel_workers"] == 2


def test_disks() -> None:
    assert tuning(GIB, 2, 100, "hdd")["random_page_cost"] == 4.0
    with pytest.raises(ValueError, match="must be one of hdd, ssd"):
        tuning(GIB, 2, 100, "tape")


def test_too_little_memory_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"given 100 MB .* raise postgresql_memory_fraction"):
        tuning(100 * MIB, 1, 100)


@given(st.integers(256 * MIB, 2048 * GIB), st.integers(1, 256), st.integers(1, 5000))
def test_bounds_hold_everywhere(memory: int, processors: int, connections: int) -> None:
    found = tuning(memory, processors, connections)
    shared = size(found["shared_buffers"])
    assert shared <= memory * 0.4
    assert shared <= size(found["effective_cache_size"]) <= memory
    assert size(found["work_mem"]) >= 2 * MIB
    assert 32 * MIB <= size(found["maintenance_work_mem"]) <= 2 * GIB
    assert 64 * KIB <= size(found["wal_buffers"]) <= 16 * MIB
    if size(found["work_mem"]) > 2 * MIB:
        assert shared + connections * size(found["work_mem"]) <= memory


def test_overrides_win_and_order_is_stable() -> None:
    found = merged(tuning(GIB, 2, 100), {"work_mem": "64MB", "jit": False})
    assert found["work_mem"] == "64MB"
    assert found["jit"] is False
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"listen_addresses": "*"}, "has an input of its own"),
        ({"PORT": 1}, "has an input of its own"),
        ({"bad name": 1}, "is no parameter name"),
        ({"work_mem": [1]}, "must be a string, number or boolean"),
        ({"work_mem": "1MB\nssl = off"}, "must be one line"),
    ],
)
def test_overrides_that_cannot_stand(overrides: dict[str, object], message: str) -> None:
    assert message in override_problems(overrides)[0]


def test_good_overrides() -> None:
    assert override_problems({"work_mem": "64MB", "pg_stat_statements.max": 5000, "jit": False}) == []
