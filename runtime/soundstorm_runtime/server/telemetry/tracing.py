"""Traces of requests by OpenTelemetry, where `soundstorm serve --otel` asks for them.

Each request has a span, a child of the one that its header `traceparent` names; each text adds the spans
`queue` and `speech`. Exporter and sampling follow the standard variables OTEL_*.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...support.command import needs_extra
from ...support.version import package_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = dict[str, Any]
Traced = Callable[[float, float, float, Attributes], None]  # see `Tracing.speech`


def otlp_provider() -> TracerProvider:
    """Return a provider that sends traces by OTLP over HTTP, by default to port 4318 of this machine.

    Raises:
        OptionError: A package of the extra is missing.
    """
    with needs_extra("otel"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    own = {"service.version": package_version()}
    if "OTEL_SERVICE_NAME" not in os.environ:
        own["service.name"] = "soundstorm"
    provider = TracerProvider(resource=Resource.create(own))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Makes spans.

    Args:
        provider: Where they go; None makes none.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("soundstorm", package_version()) if provider else None

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Callable[[str, Attributes], None]]:
        """Make the span of a request during the block.

        Args:
            name: Its name until the route is known.
            headers: Those of the request.

        Yields:
            A function that sets its final name and attributes.
        """
        if self._tracer is None:
            yield lambda name, attributes: None
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(dict(headers))
        with self._tracer.start_as_current_span(name, parent, SpanKind.SERVER) as span:

            def finish(name: str, attributes: Attributes) -> None:
                span.update_name(name)
                span.set_attributes(attributes)
                if attributes.get("http.response.status_code", 0) >= 500:
                    span.set_status(Status(StatusCode.ERROR))

            yield finish

    def speech(self) -> Traced:
        """Return a function that makes the spans of a text, below the span that is current now.

        The function takes when the text arrived, when its synthesis began and when its first audio was made,
        all of `time.perf_counter`, and attributes of the synthesis, which ends at the call.
        """
        if self._tracer is None:
            return lambda arrived, began, first, attributes: None
        from opentelemetry import context, trace

        tracer, current = self._tracer, context.get_current()

        def make(arrived: float, began: float, first: float, attributes: Attributes) -> None:
            offset = time.time_ns() - int(time.perf_counter() * 1e9)
            times = [offset + int(seconds * 1e9) for seconds in (arrived, began, first)]
            kind = trace.SpanKind.INTERNAL
            tracer.start_span("queue", current, kind, start_time=times[0]).end(times[1])
            span = tracer.start_span("speech", current, kind, attributes, start_time=times[1])
            span.add_event("first audio", timestamp=times[2])
            span.end()

        return make

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()
