"""Settings, from the environment only."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False)

    app_version: str = "0.0.0"
    app_revision: str = "unknown"
    signalbox_slot: str = "none"
    signalbox_ca_file: str | None = None
    log_level: str = "INFO"
    access_log: bool = True

    database_url: SecretStr
    database_pool_size: int = Field(10, ge=1)
    database_pool_overflow: int = Field(5, ge=0)
    # Off behind a transaction pooler that does not track prepared statements.
    database_prepared_statements: bool = True
    redis_url: SecretStr
    redis_pool_size: int = Field(32, ge=1)
    redis_prefix: str = "agent-api:"

    # Several keys, comma separated, so that keys can be rotated without a gap.
    api_key: Annotated[tuple[SecretStr, ...], NoDecode]
    read_only: bool = False
    retry_after_seconds: int = Field(5, ge=1)

    dependency_timeout_seconds: float = Field(2.0, gt=0)
    breaker_failures: int = Field(5, ge=1)
    breaker_recovery_seconds: int = Field(5, ge=1)

    @field_validator("api_key", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(key.strip() for key in value.split(",") if key.strip())
        if not value:
            raise ValueError("API_KEY must hold at least one key")
        return value

    @field_validator("log_level")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    return Settings()
