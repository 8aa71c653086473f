"""files/cases.yml as a file for `promtool test rules`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

# Text as it stands: YAML would take 0x15 for a number.
CASES: dict[str, Any] = yaml.load(
    (Path(__file__).parents[1] / "files/cases.yml").read_text(encoding="utf-8"), yaml.BaseLoader
)


def promtool_files(rules: str, alerts: Sequence[str]) -> Iterator[str]:
    """The cases of `alerts`, all of which are in the file `rules`: one file for each interval of evaluation."""
    for every in sorted({CASES[name].get("every", "1m") for name in alerts}):
        tests = [
            test for name in alerts if CASES[name].get("every", "1m") == every for test in _tests(name, CASES[name])
        ]
        yield yaml.safe_dump({"rule_files": [rules], "evaluation_interval": every, "tests": tests}, sort_keys=False)


def _tests(name: str, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Exactly one alert fires in the one case, and none in the other, at the same moment."""
    for kind in ("fires", "quiet"):
        if kind in case:
            series = {**case.get("both", {}), **case[kind]}
            samples = [{"labels": f'{{alertname="{name}"}}', "value": 1}] if kind == "fires" else []
            firing = f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})'
            yield {
                "name": f"{name} {kind}",
                "interval": "1m",
                "input_series": [{"series": one, "values": values} for one, values in series.items()],
                "promql_expr_test": [{"expr": firing, "eval_time": case.get("at", "15m"), "exp_samples": samples}],
            }
