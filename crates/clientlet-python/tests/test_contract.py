"""The contract: what a client promises on every gateway, whichever protocol it speaks and however it is called.

The library has the same table (`crates/clientlet/tests/contract`, printed as `interop/expected/contract.md`). The
cases that a caller in Python can see run here again: on the embedded gateway and on real ones, on each protocol,
by the client that waits and by the client that is awaited, in the loops of asyncio and uvloop. Each case of the
library that does not run here has its reason in `NOT_HERE`, and the cases that only Python has are in `PYTHON`.
"""

import asyncio
import inspect
import pathlib
import re
import threading
import time
from typing import NamedTuple

import pytest

import clientlet
from clientlet import AsyncClient, Client, Retry
from clientlet.testing import Gateway

from conftest import INTEROP

numpy = pytest.importorskip("numpy")

PAGE = pathlib.Path(__file__).parents[3] / "interop/expected/contract.md"

NOT_HERE = {
    "documents that are encoded already are passed on as they are":
        "Python gives documents as objects and has no class for encoded ones",
    "with retries all is answered while the gateway restarts in good order":
        "the gateway of `clientlet.testing` does not start again at its address; callers see what the case with "
        "the executor shows",
}  # fmt: skip

PYTHON = {
    "columns come back as columns",
    "a generator of an executor is a stream",
    "callbacks run once for each request",
    "a client survives a pickle",
    "text that is no text is refused with its place",
}
"""Cases that the library's table does not have."""


class Row(NamedTuple):
    """A gateway on which the contract is checked, and what it lacks."""

    name: str
    docarray: str
    protocol: str
    environment: "str | None"
    cannot: "dict[str, str]"
    settings: "dict[str, object]" = {}


V1 = {"endpoint list": "a v1 HTTP gateway lists its own paths, not the executors' endpoints"}
V2 = {
    "routes": "v2 over HTTP has no routes",
    "whole exception": "v2 over HTTP gives an exception as its repr alone",
    "bytes": "v2 over HTTP has no bytes, only text",
    "unbound endpoints": "a v2 gateway has no path for an endpoint that no executor binds",
    "honest outage": "v2 over HTTP hides a dead executor behind 500 and a good dry run",
}
WEBSOCKET = {
    "endpoint list": "a WebSocket port lists no endpoints",
    "json": "its messages are protobuf",
}
WEBSOCKET_JSON = {
    **WEBSOCKET, "json": "the gateway drops the connection for JSON that it cannot read, without a word",
    "pipeline": "one request is in flight at a time",
}  # fmt: skip
GRPC = {
    "endpoint list": "an endpoint that no executor binds is a success over gRPC, and a v1 gateway lists none",
    "json": "its messages are protobuf",
}
REAL = {"outages": "executors die on the embedded gateway; on real ones the library's table kills them"}


def _rows():
    worlds = [
        ("embedded v1", "v1", None), ("embedded v2", "v2", None), ("3.14.1 v1", "v1", "seed-era"),
        ("3.33.1 v1", "v1", "current-v1"), ("3.33.1 v2", "v2", "current"),
    ]  # fmt: skip
    protocols = [
        ("http", None, {}), ("websocket", WEBSOCKET, {}), ("grpc", GRPC, {}), ("grpc", GRPC, {"unary": True}),
        ("websocket", WEBSOCKET_JSON, {"websocket_json": True}),
    ]  # fmt: skip
    for world, docarray, environment in worlds:
        for protocol, cannot, settings in protocols:
            if "websocket_json" in settings and docarray == "v2":
                continue  # Documents v2 have no JSON over WebSocket.
            name = " ".join([world, protocol, *settings])
            cannot = {
                **((V1 if docarray == "v1" else V2) if cannot is None else cannot),
                **(REAL if environment else {}),
            }  # fmt: skip
            yield Row(name, docarray, protocol, environment, cannot, settings)


# Without real gateways their rows are left out, which `test_real_gateways_are_there` says.
ROWS = [row for row in _rows() if row.environment is None or INTEROP is not None]


class Waits:
    """Calls by the client that waits."""

    def __init__(self, url, settings):
        self.client = Client(url, **settings)

    def __getattr__(self, name):
        return getattr(self.client, name)

    def results(self, *arguments, **options):
        yield from self.client.post(*arguments, stream=True, continue_on_error=True, **options)

    def together(self, *calls):
        """Posts at the same time; returns the documents of each call."""
        results = [None] * len(calls)

        def work(index, arguments):
            results[index] = self.client.post(*arguments[0], **arguments[1])

        threads = [threading.Thread(target=work, args=call) for call in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def input(self, documents):
        return documents

    def documents(self, *arguments, **options):
        return list(self.client.stream_doc(*arguments, **options))

    def close(self):
        self.client.close()


class Awaits:
    """Calls by the client that is awaited, in an event loop of its own."""

    def __init__(self, url, settings, new_loop):
        self.client = AsyncClient(url, **settings)
        self.loop = new_loop()

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **options):
            result = method(*arguments, **options)
            return self.loop.run_until_complete(result) if inspect.isawaitable(result) else result

        return call

    def results(self, *arguments, **options):
        stream = self.client.post(*arguments, stream=True, continue_on_error=True, **options)
        while True:
            try:
                yield self.loop.run_until_complete(stream.__anext__())
            except StopAsyncIteration:
                return

    def together(self, *calls):
        async def gather():
            posts = (self.client.post(*arguments, **options) for arguments, options in calls)
            return await asyncio.gather(*posts)

        return self.loop.run_until_complete(gather())

    def input(self, documents):
        async def asynchronous():
            for document in documents:
                yield document

        return asynchronous()

    def documents(self, *arguments, **options):
        async def collect():
            return [document async for document in self.client.stream_doc(*arguments, **options)]

        return self.loop.run_until_complete(collect())

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Stage:
    """A gateway, and a way to call it."""

    def __init__(self, row, way, gateways):
        self.row, self.way, self._gateways = row, way, gateways
        self.gateway = None
        self._callers = []

    def own_gateway(self):
        """A gateway that the case may break."""
        self.gateway = Gateway(docarray=self.row.docarray)
        return self.gateway

    def client(self, **settings):
        if self.gateway is not None:
            urls = self.gateway.urls
        else:
            urls = self._gateways(self.row)
        url = urls[("http", "websocket", "grpc").index(self.row.protocol)]
        settings = {**self.row.settings, **settings}
        if self.way == "waits":
            caller = Waits(url, settings)
        elif self.way == "asyncio":
            caller = Awaits(url, settings, asyncio.new_event_loop)
        else:
            caller = Awaits(url, settings, pytest.importorskip("uvloop").new_event_loop)
        self._callers.append(caller)
        return caller

    @property
    def is_json(self):
        return self.row.protocol == "http" or "websocket_json" in self.row.settings

    def close(self):
        for caller in self._callers:
            caller.close()
        if self.gateway is not None:
            self.gateway.stop()


@pytest.fixture(scope="session")
def gateways(real_gateways):
    """The URLs of the gateways that cases leave as they are. Each is started once."""
    embedded = {}

    def urls(row):
        if row.environment is not None:
            return real_gateways(row.environment)
        if row.docarray not in embedded:
            embedded[row.docarray] = Gateway(docarray=row.docarray, journal=False)
        return embedded[row.docarray].urls

    yield urls
    for gateway in embedded.values():
        gateway.stop()


CASES = {}


def case(*needs):
    def register(check):
        CASES[check.__name__.replace("_", " ").strip()] = (check, needs)
        return check

    return register


def items(count):
    return [{"id": str(number), "text": "a text"} for number in range(count)]


def fields(documents, *names):
    """The named fields of each document: a v2 executor gives other fields their defaults."""
    return [tuple(document.get(name) for name in names) for document in documents]


def only(results):
    (result,) = results
    return result


@case()
def documents_come_back_with_their_text_changed(stage):
    response = only(stage.client().results("/upper", {"id": "a", "text": "hällo"}))
    assert (response.attempts, response.input) == (1, range(0, 1))
    assert fields(response.docs, "id", "text") == [("a", "HÄLLO")]
    assert response.status.code == 0 and response.docarray == stage.row.docarray


@case()
def parameters_come_back_with_the_executors_result(stage):
    given = {"a": 1, "l": [1.5, None, True, "s"], "m": {"k": "v"}}
    response = only(stage.client().results("/params", items(3), parameters=given))
    assert response.parameters["a"] == 1.0 and response.parameters["m"] == {"k": "v"}
    assert response.parameters["l"] == given["l"]
    assert response.parameters["__results__"]["executor0/rep-0"]["count"] == 3


@case()
def a_target_that_matches_nothing_still_answers(stage):
    client = stage.client()
    for target, text in [("nobody", "a text"), ("exec", "A TEXT"), ("xecutor", "a text")]:
        documents = client.post("/upper", items(1), target_executor=target)
        assert documents[0]["text"] == text, target


@case()
def an_empty_input_is_a_request(stage):
    client = stage.client()
    assert client.post("/upper") == [] and client.post("/upper", []) == []
    assert len(list(client.results("/upper"))) == 1


@case()
def a_thousand_documents_with_parameters_come_back_once_and_in_order(stage):
    client = stage.client()
    for size in (100, 0, 999):
        back = client.post("/upper", client.input(items(1000)), request_size=size, parameters={"k": 1})
        assert fields(back, "id", "text") == [(str(number), "A TEXT") for number in range(1000)]


@case()
def unordered_answers_hold_each_document_once(stage):
    seen, requests = [], set()
    client = stage.client()
    options = {"request_size": 7, "prefetch": 8, "in_order": False}
    for response in client.results("/", client.input(items(500)), **options):
        assert response.request_id not in requests
        requests.add(response.request_id)
        ids = [int(document["id"]) for document in response.docs]
        assert ids == list(response.input)
        seen += ids
    assert sorted(seen) == list(range(500))


@case()
def an_executors_exception_is_an_error_with_its_name(stage):
    client = stage.client()
    for kind, name in [("value", "ValueError"), ("key", "KeyError")]:
        with pytest.raises(clientlet.ExecutorError) as raised:
            client.post("/fail", items(2), parameters={"message": "boom", "kind": kind})
        error = raised.value
        assert (error.kind, error.delivery, error.may_have_run) == ("executor", "answered", True)
        assert (error.exception.name, error.exception.args) == (name, ["boom"])
        assert error.input == range(0, 2) and error.request_id
        assert "boom" in str(error) and "\n" not in str(error)
    assert client.post("/", items(1))


@case("whole exception")
def an_executors_exception_is_reported_in_full_with_the_documents(stage):
    error = only(stage.client().results("/fail", items(2), parameters={"message": "boom"}))
    assert error.exception.executor == "WireExecutor"
    assert any("boom" in line for line in error.exception.stacks)
    assert fields(error.response.docs, "id", "text") == fields(items(2), "id", "text")
    failed = only(route for route in error.response.routes if route.executor == "executor0")
    assert failed.status.code == 1


@case("json")
def a_failed_request_does_not_end_the_stream(stage):
    # The third request's document has a value that no executor accepts.
    documents = items(6)
    documents[2]["text"] = [1]
    results = list(stage.client().results("/upper", documents, request_size=1))
    assert [isinstance(result, clientlet.Error) for result in results] == [number == 2 for number in range(6)]


@case("routes")
def routes_name_gateway_and_executor_with_their_times(stage):
    response = only(stage.client().results("/", items(1)))
    assert [route.executor for route in response.routes] == ["gateway", "executor0"]
    for route in response.routes:
        assert 0 < route.start_time <= route.end_time <= time.time() + 1
    assert response.gateway_request_id


@case()
def tensors_and_unicode_survive_an_echo(stage):
    text = "h\u00e9llo \u4e16\u754c \U0001f600 \" \\ \n"
    embedding = numpy.array([0.1, -1.25, 1e-20])
    tensor = numpy.array([[0.5, 1.0, 2.0], [-3.0, 4.0, 5.25]])
    first, second = stage.client().post(
        "/", [{"id": "ü", "text": text, "embedding": embedding}, {"id": "t", "tensor": tensor}]
    )
    assert (first["id"], first["text"]) == ("ü", text)
    for sent, back in [(embedding, first["embedding"]), (tensor, second["tensor"])]:
        assert isinstance(back, numpy.ndarray) and back.shape == sent.shape and numpy.array_equal(back, sent)


@case("bytes")
def bytes_survive_an_echo(stage):
    sent = bytes(range(256))
    assert fields(stage.client().post("/", {"id": "b", "blob": sent}), "id", "blob") == [("b", sent)]


TAGS = {"number": 2.5, "text": "x", "flag": True, "list": [1.5, None, "two"], "map": {"k": "v"}}


@case()
def tags_survive_an_echo(stage):
    back = stage.client().post("/", {"id": "t", "text": "t", "tags": TAGS})
    assert back[0]["tags"] == TAGS


@case()
def empty_text_is_lost_by_v1_and_whole_tags_stay_numbers(stage):
    back = stage.client().post("/", {"id": "e", "text": "", "tags": {"one": 1, "seven": 7}})[0]
    assert back["tags"] == {"one": 1, "seven": 7} and type(back["tags"]["one"]) is int
    assert back.get("text") == ("" if stage.row.docarray == "v2" else None)


@case("unbound endpoints")
def an_endpoint_that_no_executor_binds_leaves_documents_unchanged(stage):
    back = stage.client().post("/nobody", items(1))
    assert fields(back, "id", "text") == [("0", "a text")]


@case("endpoint list")
def an_unknown_endpoint_is_an_error_that_lists_the_known_ones(stage):
    client = stage.client()
    with pytest.raises(clientlet.NotFoundError, match="no endpoint /uper; it has /, .*/upper") as raised:
        client.post("/uper", items(3))
    assert raised.value.delivery == "not_sent" and not raised.value.may_have_run
    endpoints = client.endpoints()
    assert endpoints.docarray == "v2" and "/upper" in endpoints.paths and not endpoints.takes_any


@case()
def a_value_of_the_wrong_type_is_refused_with_its_place(stage):
    documents = [{"id": "a", "text": "fine"}, {"id": "b", "text": {"no": "text"}}]
    error = only(
        result for result in stage.client().results("/upper", documents) if isinstance(result, clientlet.Error)
    )
    if stage.row.docarray == "v1":
        assert error.kind == "encode" and error.http_status is None
        assert "text: the field must be text, not an object" in str(error) and error.input == range(1, 2)
    elif stage.row.protocol == "http":
        assert (error.kind, error.http_status) == ("gateway", 422) and "body.data.1.text" in str(error)
    else:
        assert error.kind == "executor" and "'text'" in str(error)
    assert error.may_have_run == (error.kind == "executor")


@case()
def an_answer_of_twenty_megabytes_comes_through(stage):
    size = 20 << 20
    document = stage.client().post("/big", items(1), parameters={"bytes": size})[0]
    assert len(document["blob" if stage.row.docarray == "v1" else "text"]) == size


@case()
def an_answer_beyond_the_limit_names_the_limit(stage):
    client = stage.client(answer_limit=1 << 20)
    with pytest.raises(clientlet.TooLargeError, match="1048576 bytes") as raised:
        client.post("/big", items(1), parameters={"bytes": 2 << 20})
    assert raised.value.may_have_run
    assert client.post("/big", items(1), parameters={"bytes": 1000})


@case()
def documents_that_do_not_fit_the_type_name_document_and_field(stage):
    class Wrong:
        def __init__(self, id, **others):
            self.id = _whole_number(id)

    def _whole_number(text):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"id: {text!r} is no number") from None

    with pytest.raises(clientlet.DecodeError, match="document 1 .*id: 'a' is no number") as raised:
        stage.client().post("/", [{"id": "1"}, {"id": "a"}], return_type=Wrong)
    assert isinstance(raised.value.__cause__, ValueError)


@case()
def slow_inputs_are_answered_one_by_one(stage):
    answered = []

    def documents():
        for number in range(4):
            assert len(answered) == number, "the document is read after the answers before it"
            yield {"id": str(number), "text": "x"}

    client = stage.client()
    source = client.input(documents())
    assert client.post("/", source, request_size=1, prefetch=1, on_done=answered.append) is None
    assert [response.input.start for response in answered] == [0, 1, 2, 3]


@case("pipeline")
def a_slow_executor_stops_the_input_after_prefetch(stage):
    read = []

    def documents():
        for number in range(50):
            read.append(number)
            yield {"id": str(number), "text": "x"}

    client = stage.client()
    options = {"parameters": {"seconds": 0.1}, "request_size": 1, "prefetch": 5}
    results = client.results("/slow", client.input(documents()), **options)
    assert next(results).input == range(0, 1)
    # An asynchronous input is read by a task of the loop, which may be one document ahead.
    assert len(read) in ((5,) if stage.way == "waits" else (5, 6))
    results.close()


@case()
def large_and_small_calls_on_one_client_are_all_answered(stage):
    client = stage.client()
    flood = (("/", items(300)), {"request_size": 1, "prefetch": 64})
    polite = (("/upper", items(1)), {})
    large, *small = client.together(flood, *[polite] * 5)
    assert len(large) == 300
    assert [documents[0]["text"] for documents in small] == ["A TEXT"] * 5


@case()
def the_gateway_is_ready_and_reports_its_releases(stage):
    client = stage.client()
    assert client.ready() is True and client.is_flow_ready() is True and client.wait_ready(5) is True
    status = client.status()
    assert status.docarray == stage.row.docarray and status.jina["jina"]
    assert client.endpoints().docarray == stage.row.docarray


@case()
def an_attempt_ends_at_its_time_out(stage):
    client = stage.client()
    # Asks for the status and connects first, then measures the time of a request on this machine.
    began = time.monotonic()
    client.post("/upper", items(1))
    seconds = 0.1 + 5 * (time.monotonic() - began)
    began = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        client.post("/slow", items(1), parameters={"seconds": 60}, attempt_timeout=seconds)
    took = time.monotonic() - began
    assert isinstance(raised.value, clientlet.TimeoutError)
    assert (raised.value.kind, raised.value.delivery) == ("timeout", "unknown")
    assert seconds <= took < 60


@case("outages")
def a_dead_executor_is_a_gateway_error_until_it_returns(stage):
    gateway, client = stage.own_gateway(), stage.client()
    over_http = stage.row.protocol == "http"
    for _ in range(2):
        gateway.executor_down()
        for _ in range(2):
            with pytest.raises(ConnectionError) as raised:
                client.post("/", items(1))
            error = raised.value
            assert error.kind == "gateway" and error.may_have_run
            assert error.http_status == ({"v1": 503, "v2": 500}[stage.row.docarray] if over_http else None)
            assert error.delivery == ("answered" if over_http else "unknown")
        gateway.executor_down(False)
        assert client.post("/", items(1))
    gateway.executor_down()
    for at_most_once, attempts in [(False, 3), (True, 1)]:
        policy = Retry(max_attempts=3, initial_backoff=0.001, at_most_once=at_most_once)
        error = only(client.results("/", items(1), retry=policy))
        assert len(error.attempts) == attempts


@case("outages", "honest outage")
def a_dead_executor_is_named_by_error_and_dry_run(stage):
    gateway, client = stage.own_gateway(), stage.client()
    assert client.ready()
    gateway.executor_down()
    with pytest.raises(clientlet.GatewayError, match="deployment"):
        client.post("/", items(1))
    with pytest.raises(clientlet.GatewayError, match="not ready: .*executor0"):
        client.ready()
    assert client.is_flow_ready() is False
    gateway.executor_down(False)
    assert client.ready()


def _under_load(stage, retry):
    """Posts documents one by one while the executor dies and returns twice; returns the results."""
    gateway, client = stage.own_gateway(), stage.client()
    answered, results = 0, []
    over = threading.Event()

    def documents():
        number = 0
        while not over.is_set():
            yield {"id": str(number), "text": "x"}
            number += 1

    def outages():
        for _ in range(2):
            enough = answered + 20
            while answered < enough:
                time.sleep(0.005)
            gateway.executor_down()
            seen = client.statistics().attempts_failed.get("gateway", 0)
            while client.statistics().attempts_failed.get("gateway", 0) <= seen:
                time.sleep(0.005)
            gateway.executor_down(False)
        enough = answered + 20
        while answered < enough:
            time.sleep(0.005)
        over.set()

    striking = threading.Thread(target=outages)
    striking.start()
    options = {"request_size": 1, "prefetch": 4, "retry": retry}
    for result in client.results("/upper", client.input(documents()), **options):
        results.append(result)
        answered += not isinstance(result, clientlet.Error)
    striking.join()
    assert [result.input for result in results] == [range(n, n + 1) for n in range(len(results))]
    for result in results:
        if not isinstance(result, clientlet.Error):
            assert fields(result.docs, "id", "text") == [(str(result.input.start), "X")]
    return results


@case("outages")
def with_retries_all_is_answered_while_the_executor_dies_and_returns(stage):
    results = _under_load(stage, Retry(max_attempts=1000, initial_backoff=0.001, max_backoff=0.01))
    assert not [result for result in results if isinstance(result, clientlet.Error)]
    assert any(result.attempts > 1 for result in results)


@case("outages")
def without_retries_each_request_ends_once_and_names_the_dead_executor(stage):
    failed = [result for result in _under_load(stage, None) if isinstance(result, clientlet.Error)]
    outages = [error for error in failed if error.delivery != "not_sent"]
    assert outages and all(error.kind == "gateway" and error.may_have_run for error in outages)
    # These were about to be sent on a connection that ended.
    assert all(error.kind == "transport" for error in failed if error.delivery == "not_sent")


@case("outages")
def an_executor_slower_than_the_gateway_waits_may_have_run(stage):
    gateway, client = stage.own_gateway(), stage.client()
    gateway.executor_slow()
    error = only(client.results("/slow", items(1), parameters={"seconds": 2}))
    if stage.row.protocol != "http":
        expected = ("timeout", None)
    else:
        expected = {"v1": ("timeout", 504), "v2": ("gateway", 500)}[stage.row.docarray]
    assert (error.kind, error.http_status) == expected and error.may_have_run


@case()
def columns_come_back_as_columns(stage):
    vectors = numpy.arange(250 * 4, dtype="f4").reshape(250, 4)
    ids = [str(number) for number in range(250)]
    back = stage.client().post("/", columns={"id": ids, "embedding": vectors}, request_size=100)
    assert list(back["id"]) == ids and numpy.array_equal(back["embedding"], vectors)


@case()
def a_generator_of_an_executor_is_a_stream(stage):
    client = stage.client()
    if stage.row.docarray == "v1" or stage.row.protocol == "websocket":
        with pytest.raises(clientlet.Error, match="stream"):
            client.documents("/stream", {"text": "a"})
        return
    documents = client.documents("/stream", {"text": "a"})
    assert [document["text"] for document in documents] == ["a 0", "a 1", "a 2"]


@case()
def callbacks_run_once_for_each_request(stage):
    done, failed, always = [], [], []
    client = stage.client()
    callbacks = {"on_done": done.append, "on_error": failed.append, "on_always": always.append}
    client.post("/upper", items(3), request_size=1, **callbacks)
    assert [len(calls) for calls in (done, failed, always)] == [3, 0, 3]
    client.post("/fail", items(2), request_size=1, parameters={"message": "boom"}, **callbacks)
    assert [len(calls) for calls in (done, failed, always)] == [3, 2, 5]
    assert client.post("/", items(1))


@case()
def a_client_survives_a_pickle(stage):
    import pickle

    client = stage.client()
    client.client = pickle.loads(pickle.dumps(client.client))
    assert client.post("/upper", items(1))[0]["text"] == "A TEXT"


@case()
def text_that_is_no_text_is_refused_with_its_place(stage):
    with pytest.raises(clientlet.EncodeError, match="text: .*surrogate") as raised:
        stage.client().post("/", [{"id": "0"}, {"id": "1", "text": "\ud800"}])
    assert raised.value.input == range(1, 2) and raised.value.delivery == "not_sent"


@pytest.mark.parametrize("way", ["waits", "asyncio", "uvloop"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("name", CASES)
def test_the_contract_holds(name, row, way, gateways):
    check, needs = CASES[name]
    for ability in needs:
        if ability in row.cannot:
            pytest.skip(row.cannot[ability])
    stage = Stage(row, way, gateways)
    try:
        check(stage)
    finally:
        stage.close()


def test_real_gateways_are_there(real_gateways):
    for environment in ("seed-era", "current-v1", "current"):
        assert len(real_gateways(environment)) == 3


def test_each_case_of_the_library_is_here_or_has_its_reason():
    if not PAGE.exists():
        pytest.skip("the library's table is in the repository")
    library = set(re.findall(r"^\| (?!case |---)(.+?) \|", PAGE.read_text(), re.MULTILINE))
    assert len(library) > 20
    assert library == (set(CASES) - PYTHON) | set(NOT_HERE)
    assert PYTHON <= set(CASES) and not set(NOT_HERE) & set(CASES)
