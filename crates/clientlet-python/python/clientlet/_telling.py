"""Hands on what the core tells: log events to `logging`, spans to OpenTelemetry."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any


def log(name: str, level: int, seconds: float, message: str, fields: Mapping[str, Any]) -> None:
    """Logs an event. The logger has the event's name; the record has its fields as the dict `fields`."""
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    told = ", ".join(f"{name} {value}" for name, value in fields.items())
    text = f"{message} ({told})" if told else message
    record = logger.makeRecord(name, level, "clientlet", 0, text, (), None, extra={"fields": dict(fields)})
    # The event may have waited for a thread of Python.
    record.created, record.msecs = seconds, seconds % 1 * 1000
    logger.handle(record)


Ids = tuple[int, int, int, list[tuple[str, str]], bool]


def _ids(context: Any) -> Ids:
    state = list(context.trace_state.items()) if context.trace_state else []
    return context.trace_id, context.span_id, int(context.trace_flags), state, context.is_remote


def current() -> tuple[Any, Ids, list[tuple[str, str]]]:
    """The caller's context, the parts of its span's context, and its baggage."""
    from opentelemetry import baggage, context, trace

    here = context.get_current()
    entries = [(name, str(value)) for name, value in baggage.get_all(here).items()]
    return here, _ids(trace.get_current_span(here).get_span_context()), entries


def scoped(provider: Any, method: str, name: str, version: str, schema: str) -> Any:
    """A tracer or a meter."""
    return getattr(provider, method)(name, version, schema_url=schema)


def begin(
    tracer: Any,
    name: str,
    kind: str,
    context: Any,
    parent: tuple[int, int, int, str] | None,
    attributes: Mapping[str, Any],
    nanoseconds: int,
) -> tuple[Any, bool, Ids]:
    """Begins a span below `parent`. It is not made current: calls of a client do not run its code."""
    from opentelemetry import trace
    from opentelemetry.context import Context

    context = Context() if context is None else context
    own = trace.get_current_span(context).get_span_context()
    if parent is not None and (own.trace_id, own.span_id) != parent[:2]:
        above = trace.SpanContext(
            parent[0], parent[1], False, trace.TraceFlags(parent[2]), trace.TraceState.from_header([parent[3]])
        )
        context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
    span = tracer.start_span(
        name, context, kind=trace.SpanKind[kind], attributes=attributes, start_time=nanoseconds
    )
    return span, span.is_recording(), _ids(span.get_span_context())


def end(
    span: Any,
    attributes: Mapping[str, Any],
    events: list[tuple[str, int, Mapping[str, Any]]],
    failed: str | None,
    nanoseconds: int,
) -> None:
    """Ends a span, after it was told what happened."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attributes(attributes)
    for name, at, of_event in events:
        span.add_event(name, of_event, at)
    if failed is not None:
        span.set_status(Status(StatusCode.ERROR, failed))
    span.end(nanoseconds)


def instrument(
    meter: Any, kind: str, name: str, unit: str, description: str, bounds: list[float] | None
) -> Any:
    """Makes an instrument, and returns the method that it is told numbers by."""
    if kind == "counter":
        return meter.create_counter(name, unit, description).add
    if kind == "up_down_counter":
        return meter.create_up_down_counter(name, unit, description).add
    try:
        made = meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)
    except TypeError:
        # Releases before 1.30 have no such advice.
        made = meter.create_histogram(name, unit, description)
    return made.record
