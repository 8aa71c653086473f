"""What `make test` says about Pythons before anything is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))
import pythons


@pytest.mark.parametrize(
    ("running", "older", "venv", "words"),
    [
        ((3, 12), "/usr/bin/python3.11", None, []),
        ((3, 13), "/usr/bin/python3.11", "python3.13", []),
        ((3, 11), "/usr/bin/python3.11", None, ["3.12 or newer with venv"]),
        ((3, 12), None, None, ["Python 3.11 with venv"]),
        ((3, 12), "/usr/bin/python3.11", "python3.11", [".venv of Python 3.12"]),
        ((3, 9), None, None, ["3.12 or newer with venv", "Python 3.11 with venv"]),
    ],
)
def test_pythons_that_the_tests_need(
    running: tuple[int, int], older: str | None, venv: str | None, words: list[str], tmp_path: Path
) -> None:
    made = tmp_path / ".venv"
    if venv:
        (made / "lib" / venv).mkdir(parents=True)
    found = pythons.missing(running, older, made)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found))
