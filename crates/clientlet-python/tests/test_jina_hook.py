"""Putting the hook in and taking it out, and what it hands to the core."""

import asyncio
import sys

import pytest
from beside_jina import PROTOCOLS, RETURN, docarray_v2, items, jina
from jina import Client
from jina.clients import mixin
from jina.clients.base import BaseClient
from jina.clients.base.grpc import GRPCBaseClient
from jina.clients.base.http import HTTPBaseClient
from jina.clients.base.websocket import WebSocketBaseClient
from jina.types.request.data import DataRequest

import clientlet
from clientlet.testing import Gateway

DOCARRAY = "v2" if docarray_v2 else "v1"
TOUCHED = (HTTPBaseClient, WebSocketBaseClient, GRPCBaseClient, BaseClient, mixin.PostMixin, mixin)


@pytest.fixture
def gateway():
    with Gateway(docarray=DOCARRAY) as gateway:
        yield gateway


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


def client_of(gateway, protocol, **settings):
    port = int(gateway.urls[PROTOCOLS.index(protocol)].rsplit(":", 1)[1])
    return Client(protocol=protocol, port=port, host="127.0.0.1", **settings)


def is_ours(client):
    (response,) = client.post("/upper", items(1), return_responses=True, **RETURN)
    assert [item.text for item in response.docs] == ["T0"]
    return type(response) is not DataRequest


def test_the_hook_goes_in_and_out_without_a_trace(gateway, protocol):
    before = [dict(vars(of)) for of in TOUCHED]
    client = client_of(gateway, protocol)
    assert not is_ours(client)
    clientlet.install_jina()
    try:
        assert is_ours(client)
    finally:
        clientlet.uninstall_jina()
    assert [dict(vars(of)) for of in TOUCHED] == before
    assert not is_ours(client)


def test_installing_twice_is_installing_once(gateway):
    client = client_of(gateway, "grpc")
    with clientlet.install_jina():
        with clientlet.install_jina():
            assert is_ours(client)
        assert is_ours(client)
        clientlet.uninstall_jina()
        assert not is_ours(client)
        clientlet.uninstall_jina()
    assert not is_ours(client)


def test_calls_that_are_under_way_go_on_when_the_hook_is_taken_out(gateway, protocol):
    client = client_of(gateway, protocol, asyncio=True)

    async def run():
        kinds = []
        with clientlet.install_jina():
            stream = client.post(
                "/upper", items(6), request_size=1, prefetch=2, return_responses=True, **RETURN
            )
            async for response in stream:
                kinds.append(type(response) is not DataRequest)
                clientlet.uninstall_jina()
        return kinds

    assert asyncio.run(run()) == [True] * 6


def test_a_release_that_is_not_known_is_refused_unless_it_is_forced(monkeypatch):
    monkeypatch.setattr(jina, "__version__", "3.99.0")
    with pytest.raises(ImportError, match=r"jina 3\.99\.0 is not known, only 3\.14\.1 and 3\.33\.1"):
        clientlet.install_jina()
    with clientlet.install_jina(force=True):
        assert HTTPBaseClient._get_results.__module__ == "clientlet._jina_calls"


def test_without_jina_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "jina", None)
    with pytest.raises(ImportError, match="pip install jina"):
        clientlet.install_jina()


def test_what_gateways_use_is_not_touched():
    from jina.proto import jina_pb2_grpc
    from jina.serve.stream import RequestStreamer

    before = dict(vars(RequestStreamer)), dict(vars(jina_pb2_grpc))
    with clientlet.install_jina():
        assert (dict(vars(RequestStreamer)), dict(vars(jina_pb2_grpc))) == before


def test_each_request_has_spans_of_the_clients_provider(gateway, protocol):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    client = client_of(gateway, protocol)
    client.tracing = True
    client.tracer_provider = TracerProvider()
    client.tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    with clientlet.install_jina():
        client.post("/upper", items(3), request_size=1, **RETURN)
    told = {arrival.headers.get("traceparent", "--").split("-")[1] for arrival in gateway.journal}
    found = {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()}
    assert len(spans.get_finished_spans()) >= 4
    assert told <= found


def test_metrics_go_to_the_clients_provider(gateway, protocol):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    client = client_of(gateway, protocol)
    client.metrics = True
    client.meter_provider = MeterProvider(metric_readers=[reader])
    with clientlet.install_jina():
        client.post("/upper", items(2), request_size=1, **RETURN)
    scopes = [scope for resource in reader.get_metrics_data().resource_metrics for scope in resource.scope_metrics]
    assert any(metric.name for scope in scopes for metric in scope.metrics)


def test_the_log_and_the_handle_say_whether_the_hook_is_in_effect(caplog):
    said = f"the clients of jina {jina.__version__} work through clientlet"
    with caplog.at_level("INFO", logger="clientlet.jina"):
        with clientlet.install_jina() as installed:
            assert repr(installed) == repr(clientlet.install_jina()) == f"<install_jina: {said}>"
        assert repr(installed) == "<install_jina: not in effect>"
        clientlet.uninstall_jina()
    assert [record.getMessage() for record in caplog.records if record.name == "clientlet.jina"] == [
        f"install_jina: {said}", "uninstall_jina: the clients of jina have their own code back",
    ]  # fmt: skip
