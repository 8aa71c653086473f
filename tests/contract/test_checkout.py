"""The checkout keeps every rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from rules import RULES

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_checkout(rule):
    problems = rule(CHECKOUT)
    assert not problems, "\n" + "\n".join(problems)
