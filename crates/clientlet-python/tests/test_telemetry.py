"""Spans and metrics through Python's OpenTelemetry."""

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

import clientlet
from clientlet import AsyncClient, Client, Retry
from clientlet.testing import Gateway

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import baggage, context, trace  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF  # noqa: E402
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

INTEROP = os.environ.get("CLIENTLET_INTEROP")
SCRIPTS = pathlib.Path(__file__).parents[3] / "interop"


class Program:
    """A program that traces."""

    def __init__(self, **options):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(**options)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def spans(self):
        return self.exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.spans() if span.name == name]


@pytest.fixture
def program():
    return Program()


def parent(of):
    return of.parent and of.parent.span_id


def headers_of(gateway):
    return [dict(arrival.headers) for arrival in gateway.journal]


def test_a_call_has_a_span_below_the_current_one_and_attempts_below_it(program, gateway, url):
    client = Client(url, tracer_provider=program.provider)
    with program.tracer.start_as_current_span("handler") as handler:
        client.post("/upper", [{"text": "a"}, {"text": "b"}], request_size=1)
    (call,) = program.named("post /upper")
    assert parent(call) == handler.get_span_context().span_id
    assert call.kind == SpanKind.INTERNAL
    assert call.attributes["clientlet.requests"] == 2
    assert call.attributes["clientlet.documents"] == 2
    assert call.instrumentation_scope.name == "clientlet"
    assert call.instrumentation_scope.version == clientlet.__version__
    attempts = [span for span in program.spans() if span.kind == SpanKind.CLIENT and span.name != "discover"]
    assert len(attempts) == 2
    assert {parent(span) for span in attempts} == {call.context.span_id}
    assert {span.context.trace_id for span in program.spans()} == {call.context.trace_id}
    for span in attempts:
        assert call.start_time <= span.start_time <= span.end_time <= call.end_time


def test_the_context_is_sent(program):
    with Gateway() as gateway:
        client = Client(gateway.url, tracer_provider=program.provider)
        token = context.attach(baggage.set_baggage("tenant", "50%"))
        try:
            client.post("/upper", {"text": "a"})
        finally:
            context.detach(token)
        (span,) = program.named("POST /post")
        sent = [headers for headers in headers_of(gateway) if "traceparent" in headers]
    trace_id, span_id = span.context.trace_id, span.context.span_id
    assert sent[-1]["traceparent"] == f"00-{trace_id:032x}-{span_id:016x}-01"
    assert sent[-1]["baggage"] == "tenant=50%25"


def test_a_trace_that_is_not_sampled_is_handed_on(gateway):
    program = Program(sampler=ALWAYS_OFF)
    client = Client(gateway.url, tracer_provider=program.provider)
    client.post("/upper", {"text": "a"})
    assert program.spans() == ()
    sent = [headers["traceparent"] for headers in headers_of(gateway) if "traceparent" in headers]
    assert sent and all(header.endswith("-00") for header in sent)


def test_each_task_has_its_own_context(program, run, gateway, url):
    async def handle(client, name):
        with program.tracer.start_as_current_span(name):
            await asyncio.sleep(0)
            await client.post("/upper", {"text": name})

    async def main():
        async with AsyncClient(url, tracer_provider=program.provider) as client:
            await asyncio.gather(*(handle(client, f"handler {n}") for n in range(20)))

    run(main())
    handlers = {span.context.span_id: span for span in program.spans() if span.name.startswith("handler")}
    calls = program.named("post /upper")
    assert len(calls) == 20
    assert {parent(call) for call in calls} == set(handlers)
    assert {call.context.trace_id for call in calls} == {span.context.trace_id for span in handlers.values()}


def test_a_failure_and_its_retries_are_told(program):
    client = Client(
        "http://127.0.0.1:1", tracer_provider=program.provider, retry=Retry(max_attempts=2, initial_backoff=0.001)
    )
    with pytest.raises(clientlet.ConnectError):
        client.post("/upper", {"text": "a"})
    (call,) = program.named("post /upper")
    assert call.status.status_code == StatusCode.ERROR
    assert call.attributes["error.type"] == "connect"
    attempts = [span for span in program.spans() if span.kind == SpanKind.CLIENT]
    assert all(span.status.status_code == StatusCode.ERROR for span in attempts)
    assert [event.name for span in attempts for event in span.events].count("clientlet.retry") == 1


def test_questions_have_spans_below_the_current_one(program, url):
    client = Client(url, tracer_provider=program.provider)
    with program.tracer.start_as_current_span("handler") as handler:
        client.ready()
    (ready,) = [span for span in program.named("ready") if span.kind == SpanKind.INTERNAL]
    assert parent(ready) == handler.get_span_context().span_id


def test_a_call_that_is_given_up_ends_its_spans(program, gateway):
    client = Client(gateway.url, tracer_provider=program.provider)
    stream = client.post("/slow", {"text": "a"}, parameters={"seconds": 60}, stream=True)
    stream.stop()
    del stream
    # What ended by itself is told with the next call.
    client.ready()
    assert len(program.named("post /slow")) == 1


def test_a_provider_that_raises_does_not_harm_the_call(gateway, monkeypatch):
    class Broken:
        def get_tracer(self, *arguments, **options):
            return self

        def start_span(self, *arguments, **options):
            raise RuntimeError("a broken provider")

    client = Client(gateway.url, tracer_provider=Broken())
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda raised: told.append(str(raised.exc_value)))
    assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
    assert set(told) == {"a broken provider"}


def test_numbers_are_measured(gateway, url, protocol):
    reader = InMemoryMetricReader()
    client = Client(url, meter_provider=MeterProvider([reader]))
    client.post("/upper", [{"text": "a"}] * 30, request_size=1)
    points = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            assert scope.scope.name == "clientlet"
            for metric in scope.metrics:
                points[metric.name] = (metric, metric.data.data_points)
    metric, (requests,) = points["clientlet.request.duration"]
    assert metric.unit == "s"
    assert requests.count == 30 and requests.sum > 0
    assert requests.attributes["clientlet.protocol"] == protocol
    assert requests.attributes["clientlet.endpoint"] == "/upper"
    _, (attempts,) = points["clientlet.attempts"]
    assert attempts.value == 30 and attempts.attributes["clientlet.outcome"] == "answered"
    _, (flying,) = points["clientlet.request.in_flight"]
    assert flying.value == 0
    _, moved = points["clientlet.io"]
    assert {point.attributes["network.io.direction"] for point in moved} == {"transmit", "receive"}


def test_no_measurement_of_a_counter_is_lost(gateway):
    reader = InMemoryMetricReader()
    client = Client(gateway.url, meter_provider=MeterProvider([reader]))
    client.post("/upper", [{"text": "a"}] * 3000, request_size=1)
    data = json.loads(reader.get_metrics_data().to_json())
    (scope,) = data["resource_metrics"][0]["scope_metrics"]
    (attempts,) = [metric for metric in scope["metrics"] if metric["name"] == "clientlet.attempts"]
    assert sum(point["value"] for point in attempts["data"]["data_points"]) == 3000
    assert client.statistics().requests.count == 3000


@contextlib.contextmanager
def script(name, *arguments):
    """A script of `interop` in the environment of 3.33.1, and the first line that it prints."""
    python = pathlib.Path(INTEROP) / "current/bin/python"
    command = [python, SCRIPTS / name, *arguments, "--die-with-parent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    # A line that never comes fails the test.
    watch = threading.Timer(40, process.kill)
    watch.start()
    try:
        told = json.loads(process.stdout.readline())
        assert told["ready"], told
        yield process, told["ports"]
    finally:
        watch.cancel()
        process.terminate()
        process.stdout.read()
        process.wait(timeout=30)


@pytest.mark.skipif(INTEROP is None, reason="real gateways are not installed, or another run of the tests has them")
def test_one_trace_goes_through_the_program_the_client_and_a_real_gateway(program, protocol):
    scheme = {"http": "http", "websocket": "ws", "grpc": "grpc"}[protocol]
    with script("otlp.py") as (receiver, ports):
        traces = ["--traces-port", str(ports["grpc"])]
        with script("gateway.py", "--protocol", protocol, "--port", "0", *traces) as (_, gateway):
            url = f"{scheme}://127.0.0.1:{gateway[protocol]}"
            # A span of the gateway for a connection ends with it.
            with Client(url, tracer_provider=program.provider) as client:
                with program.tracer.start_as_current_span("handler") as handler:
                    client.post("/upper", {"text": "a"})
            # Requests that share a connection share the call's context.
            name = "POST /upper" if protocol == "http" else "post /upper"
            wanted = {f"{span.context.span_id:016x}" for span in program.named(name)}
            trace_id = f"{handler.get_span_context().trace_id:032x}"
            # The gateway sends its spans some seconds later.
            seen = None
            while seen is None or (seen["trace_id"], seen["parent_span_id"]) not in {(trace_id, it) for it in wanted}:
                seen = json.loads(receiver.stdout.readline()).get("span")
    assert seen["service"].startswith("gateway")
