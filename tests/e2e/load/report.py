"""The report: JSON for programs, a table for people."""

from __future__ import annotations

import time
from array import array
from dataclasses import asdict
from datetime import UTC, datetime

from .options import Options
from .recorder import Recorder


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def latency(values: array[float]) -> dict[str, float]:
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)

    return {"count": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1] * 1000, 2)}


def build(options: Options, recorder: Recorder, ended: float) -> dict[str, object]:
    request_seconds = recorder.requests_ended - recorder.started
    switches = [
        {
            "old": change.old,
            "new": change.new,
            "first_new": change.first_new,
            "last_old": change.last_old,
            "overlap_ms": round(change.overlap_ms, 1),
            "routing_overlap_ms": round(change.routing_overlap_ms, 1),
        }
        for change in recorder.changes
    ]
    return {
        "ok": recorder.failed == 0,
        "run": options.run,
        "started": iso(recorder.started),
        "ended": iso(ended),
        "seconds": round(ended - recorder.started, 2),
        "request_seconds": round(request_seconds, 2),
        "targets": [host if port is None else f"{host}:{port}" for host, port in options.targets],
        "protocols": list(options.protocols),
        "requests": recorder.total,
        "requests_by_kind": dict(recorder.answers),
        "requests_per_second": round(recorder.total / request_seconds, 1) if request_seconds else 0.0,
        "accepted_statuses": {str(status): count for status, count in recorder.accepted.items()},
        "connections": {
            "opened": recorder.connections_opened,
            "polite_closes": recorder.polite_closes,
            "idle_closes": recorder.idle_closes,
        },
        "latency_milliseconds": {name: latency(values) for name, values in recorder.latencies.items()},
        "streams_started": sum(count.started for count in recorder.streams.values()),
        "streams_complete": sum(count.completed for count in recorder.streams.values()),
        "streams": {kind: asdict(count) for kind, count in recorder.streams.items()},
        "versions": {name: asdict(seen) for name, seen in recorder.versions.items()},
        "switches": switches,
        "executions": recorder.executions,
        "replayed": recorder.executions.get("replays", 0),
        "failures": recorder.failed,
        "failure_kinds": dict(recorder.failures_by_kind),
        "failure_samples": recorder.failures_as_dicts(),
        "per_second": [
            {"time": second, "answers": dict(counts)} for second, counts in sorted(recorder.per_second.items())
        ],
    }


def progress(recorder: Recorder, previous_total: int, interval: float) -> str:
    rate = (recorder.total - previous_total) / interval
    versions = sorted(recorder.per_second.get(int(time.time()) - 1, {}))
    streams = sum(count.started - count.completed - count.failed for count in recorder.streams.values())
    return (
        f"{time.time() - recorder.started:6.0f} s  {recorder.total:9d} answers  {rate:7.0f}/s  "
        f"{recorder.failed:5d} failed  {streams:3d} streams open  {' '.join(versions)}"
    )


def table(report: dict[str, object]) -> str:
    lines = [
        f"requests      {report['requests']} in {report['request_seconds']} s = {report['requests_per_second']}/s",
        f"by kind       {report['requests_by_kind']}",
        f"connections   {report['connections']}",
    ]
    for name, values in report["latency_milliseconds"].items():  # type: ignore[attr-defined]
        lines.append(f"latency ms    {name}: p50 {values['p50']}  p99 {values['p99']}  max {values['max']}")
    for kind, count in report["streams"].items():  # type: ignore[attr-defined]
        if count["started"]:
            lines.append(f"{kind:<13} {count}")
    for name, seen in report["versions"].items():  # type: ignore[attr-defined]
        lines.append(f"version       {name}: {seen['answers']} answers, {iso(seen['first'])} to {iso(seen['last'])}")
    for change in report["switches"]:  # type: ignore[attr-defined]
        lines.append(
            f"switch        {change['old']} to {change['new']} at {iso(change['first_new'])}, "
            f"both answered for {change['overlap_ms']} ms, both were asked for {change['routing_overlap_ms']} ms"
        )
    lines.append(f"executions    {report['executions']}")
    lines.append(f"failures      {report['failures']} {report['failure_kinds']}")
    for failure in report["failure_samples"][:10]:  # type: ignore[index]
        detail = " ".join(failure["detail"].split())[:100]
        lines.append(
            f"  {iso(failure['time'])} {failure['kind']} {failure['protocol']} {failure['target']} "
            f"connection {failure['connection']} request {failure['request']}: {detail}"
        )
    return "\n".join(lines)
