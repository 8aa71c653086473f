"""JSON logs on standard output, for this service's own messages and for those of its libraries."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import structlog

SHARED = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


def _dumps(value: object, **_: Any) -> bytes:
    return orjson.dumps(value, default=str)


def configure(level: str) -> None:
    structlog.configure(
        processors=[*SHARED, structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )


class Formatter(structlog.stdlib.ProcessorFormatter):
    """Renders records of the standard library's logging (uvicorn, Alembic) in the same shape."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # uvicorn repeats its message with terminal colours.
                self._drop_colours,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(lambda value, **kwargs: _dumps(value).decode()),
            ],
        )

    @staticmethod
    def _drop_colours(_logger: Any, _name: str, event: Any) -> Any:
        event.pop("color_message", None)
        return event
