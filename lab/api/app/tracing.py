"""Correlation id and W3C trace context of the current request.

The context is that of opentelemetry-api, so instrumentation added later continues the same trace.
"""

from __future__ import annotations

import re
import uuid
from contextvars import Token
from dataclasses import dataclass
from random import getrandbits

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CORRELATION_HEADER = b"x-correlation-id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class RequestContext:
    correlation_id: str
    trace_id: str
    _token: Token[otel_context.Context]

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (CORRELATION_HEADER, self.correlation_id.encode()),
            (b"traceparent", outgoing_headers()["traceparent"].encode()),
        ]

    def leave(self) -> None:
        structlog.contextvars.clear_contextvars()
        otel_context.detach(self._token)


def enter(headers: dict[bytes, bytes]) -> RequestContext:
    """Continue the caller's trace and correlation id, or begin new ones."""
    offered = headers.get(CORRELATION_HEADER, b"").decode("latin-1")
    correlation_id = offered if _ACCEPTED.fullmatch(offered) else uuid.uuid4().hex
    parent = trace.INVALID_SPAN_CONTEXT
    if b"traceparent" in headers:
        carrier = {name: headers.get(name.encode(), b"").decode("latin-1") for name in ("traceparent", "tracestate")}
        parent = trace.get_current_span(_PROPAGATOR.extract(carrier)).get_span_context()
    span = trace.SpanContext(
        trace_id=parent.trace_id or getrandbits(128) or 1,
        span_id=getrandbits(64) or 1,
        is_remote=False,
        trace_flags=parent.trace_flags,
        trace_state=parent.trace_state,
    )
    token = otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))
    trace_id = trace.format_trace_id(span.trace_id)
    structlog.contextvars.bind_contextvars(
        correlation_id=correlation_id, trace_id=trace_id, span_id=trace.format_span_id(span.span_id)
    )
    return RequestContext(correlation_id, trace_id, token)


def outgoing_headers() -> dict[str, str]:
    """Headers (or message fields) that carry the current trace to whatever this request calls."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier
