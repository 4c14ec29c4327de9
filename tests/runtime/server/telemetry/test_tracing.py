"""Spans of requests, with the SDK of OpenTelemetry and an exporter in memory."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "opentelemetry.sdk", reason="the extra otel is absent: pip install 'soundstorm-edge[otel]'"
)
pytest.importorskip("fastapi", reason="the extra serve is absent: pip install 'soundstorm-edge[serve]'")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.testclient import TestClient

from soundstorm_runtime.server.app import create_app
from soundstorm_runtime.server.settings import Settings
from soundstorm_runtime.server.telemetry.tracing import Tracing, otlp_provider

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def client(make_bundle, spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = create_app(Settings(make_bundle()), Tracing(provider))
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_a_text_is_a_trace(client, spans):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-ID": "mine"}
    answer = client.post("/v1/audio/speech", json={"input": "Good morning."}, headers=headers)
    assert answer.status_code == 200
    found = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {"queue", "speech", "POST /v1/audio/speech"}
    request, queue, speech = found["POST /v1/audio/speech"], found["queue"], found["speech"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/audio/speech",
        "http.response.status_code": 200,
        "soundstorm.request_id": "mine",
    }
    for span in (queue, speech):
        assert span.parent.span_id == request.context.span_id
    assert queue.end_time == speech.start_time
    (first,) = speech.events
    assert speech.start_time <= first.timestamp <= speech.end_time
    assert speech.attributes["soundstorm.characters"] == 13
    assert speech.attributes["soundstorm.audio_seconds"] > 0


def test_a_server_error_is_one_in_the_trace(client, spans, monkeypatch):
    def fail(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(client.app.state.speaker, "read", fail)
    assert client.post("/v1/audio/speech", json={"input": "Good morning."}).status_code == 500
    (span,) = spans.get_finished_spans()
    assert span.status.status_code == StatusCode.ERROR


def test_the_exporter_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "speech-of-ours")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    provider = otlp_provider()
    assert provider.resource.attributes["service.name"] == "speech-of-ours"
    provider.shutdown()
