# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL settings from the memory and processors that a server may use.

Sources, named below by letter:
  A  PostgreSQL 17 manual, 19.4 "Resource Consumption": shared_buffers about 25 % of memory, over 40 % rarely helps;
     work_mem counts per sort or hash node and per session, hash_mem_multiplier doubles it for hashes;
     maintenance_work_mem may be well above work_mem, autovacuum takes autovacuum_max_workers times as much.
  B  PostgreSQL 17 manual, 19.5 "Write Ahead Log": wal_buffers 1/32 of shared_buffers up to one segment of 16 MB;
     checkpoint_completion_target 0.9; max_wal_size is a soft limit.
  C  PostgreSQL 17 manual, 19.7 "Query Planning": random_page_cost near seq_page_cost for solid-state storage;
     effective_cache_size is the memory left for caching, shared_buffers included.
  D  PGTune (le0pard/pgtune, profile "web"): cache 3/4, maintenance 1/16 up to 2 GB, work_mem from what shared_buffers
     leaves, divided by three times the connections; effective_io_concurrency 200 on solid-state disks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

Setting = Union[str, int, float, bool]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# Below this no server of use fits: the buffers, the autovacuum workers and a few sessions.
MINIMUM_MEMORY_BYTES = 256 * MIB

# Parameters with an input of their own, or whose change would undo what the role promises.
RESERVED: tuple[str, ...] = (
    "archive_mode",
    "data_directory",
    "hba_file",
    "ident_file",
    "listen_addresses",
    "password_encryption",
    "port",
    "shared_preload_libraries",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "unix_socket_directories",
)

_STORAGE: dict[str, dict[str, Setting]] = {
    "ssd": {"random_page_cost": 1.1, "effective_io_concurrency": 200},
    "hdd": {"random_page_cost": 4.0, "effective_io_concurrency": 2},
}


def memory_budget(memory_total_megabytes: int, fraction: float, memory_bytes: int = 0) -> int:
    """Bytes that the server may use: a stated number, or a share of the host."""
    if memory_bytes > 0:
        return memory_bytes
    return int(memory_total_megabytes * MIB * fraction)


def _size(value: int) -> str:
    """A size as PostgreSQL writes it, rounded down: in MB from 8 MB on, in kB below."""
    return f"{value // MIB}MB" if value >= 8 * MIB else f"{value // KIB}kB"


def tuning(memory_bytes: int, processors: int, max_connections: int, storage: str = "ssd") -> dict[str, Setting]:
    """Settings for a memory budget. Raises ValueError with a sentence where no sound answer exists."""
    if memory_bytes < MINIMUM_MEMORY_BYTES:
        raise ValueError(
            f"PostgreSQL was given {memory_bytes // MIB} MB of memory, and needs {MINIMUM_MEMORY_BYTES // MIB} MB: "
            "raise postgresql_memory_fraction or postgresql_memory_bytes, or use a larger host"
        )
    if storage not in _STORAGE:
        raise ValueError(f"storage is '{storage}', and must be one of {', '.join(sorted(_STORAGE))}")
    if max_connections < 1 or processors < 1:
        raise ValueError("max_connections and processors must be 1 or more")
    shared = memory_bytes // 4  # A
    gather = max(1, min(4, processors // 2))
    work = max(2 * MIB, (memory_bytes - shared) // (max_connections * 3))  # D; its floor is half the built-in default
    settings: dict[str, Setting] = {
        "max_connections": max_connections,
        "shared_buffers": _size(shared),
        "effective_cache_size": _size(memory_bytes * 3 // 4),  # C, D
        "work_mem": _size(work),
        "maintenance_work_mem": _size(max(32 * MIB, min(2 * GIB, memory_bytes // 16))),  # D
        "wal_buffers": _size(max(64 * KIB, min(16 * MIB, shared // 32))),  # B
        "huge_pages": "try",
        "checkpoint_completion_target": 0.9,  # B
        "checkpoint_timeout": "15min",
        "min_wal_size": "512MB",
        "max_wal_size": "4GB" if memory_bytes >= 2 * GIB else "2GB",  # D, less on small hosts, whose disks are small
        "max_worker_processes": max(8, processors),
        "max_parallel_workers": max(2, processors),
        "max_parallel_workers_per_gather": gather,
        "max_parallel_maintenance_workers": gather,
    }
    settings.update(_STORAGE[storage])
    return settings


def merged(computed: Mapping[str, Setting], overrides: Mapping[str, Setting]) -> dict[str, Setting]:
    """Computed settings with the operator's own above them, in alphabetical order."""
    return dict(sorted({**computed, **overrides}.items()))


def override_problems(overrides: Mapping[str, Setting]) -> list[str]:
    """Sentences about overrides that cannot stand."""
    problems = [
        f"postgresql_settings.{name}: has an input of its own or is fixed by the role; remove it here"
        for name in sorted(overrides)
        if name.lower() in RESERVED
    ]
    for name, value in sorted(overrides.items()):
        if not name.replace("_", "").replace(".", "").isalnum():
            problems.append(f"postgresql_settings.{name}: is no parameter name; use letters, digits, '_' and '.'")
        if not isinstance(value, (str, int, float)):
            problems.append(f"postgresql_settings.{name}: must be a string, number or boolean")
        elif "\n" in str(value):
            problems.append(f"postgresql_settings.{name}: must be one line")
    return problems
