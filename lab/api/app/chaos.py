"""Misbehaviour on demand, so that gates can be shown to catch it.

Values come from the environment; CHAOS_DEFAULTS ("NAME=value NAME=value", baked into an image) stands below it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "CHAOS_"


class Chaos(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    enabled: bool = False
    start_delay_seconds: float = Field(0.0, ge=0)
    version: str = ""
    fail_dependency: Literal["", "postgres", "redis"] = ""
    error_rate: float = Field(0.0, ge=0, le=1)
    latency_milliseconds: float = Field(0.0, ge=0)
    exit_after_seconds: float = Field(0.0, ge=0)
    never_healthy: bool = False


class ChaosChange(BaseModel):
    """What may be changed while the service runs."""

    model_config = ConfigDict(extra="forbid")

    version: str | None = None
    fail_dependency: Literal["", "postgres", "redis"] | None = None
    error_rate: float | None = Field(None, ge=0, le=1)
    latency_milliseconds: float | None = Field(None, ge=0)
    exit_after_seconds: float | None = Field(None, ge=0)
    never_healthy: bool | None = None


def from_environment(environment: Mapping[str, str]) -> Chaos:
    values = dict(part.split("=", 1) for part in environment.get("CHAOS_DEFAULTS", "").split() if "=" in part)
    values.update({name: value for name, value in environment.items() if value})
    known = {f"{PREFIX}{field}".upper(): field for field in Chaos.model_fields}
    return Chaos.model_validate({field: values[name] for name, field in known.items() if name in values})


STATE = from_environment(os.environ)
