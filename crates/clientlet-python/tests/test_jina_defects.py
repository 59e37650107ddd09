"""What goes wrong with jina's own client, and not on this package's core. Each test runs without the hook as
well, where it is expected to fail."""

import asyncio
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
from beside_jina import (
    IS_SEED,
    PROTOCOLS,
    RETURN,
    Caller,
    Item,
    RealGateway,
    Relay,
    docarray_v2,
    free_port,
    items,
)
from jina import Client
from jina.excepts import BadServer

import clientlet
from clientlet.testing import Gateway

DOCARRAY = "v2" if docarray_v2 else "v1"


@pytest.fixture(scope="module")
def real():
    gateway = RealGateway()
    yield gateway
    gateway.stop()


@pytest.fixture
def hook(request):
    """Installs the hook, or not."""
    if request.param == "hook":
        with clientlet.install_jina():
            yield
    else:
        yield


def defect(reason, is_here=True):
    """Runs a test with the hook, and without it where the release has the defect, which it has to show."""
    plain = pytest.param("plain", marks=pytest.mark.xfail(strict=True, reason=reason))
    return pytest.mark.parametrize("hook", [plain, "hook"] if is_here else ["hook"], indirect=True)


def client_of(gateway, protocol, **settings):
    port = int(gateway.urls[PROTOCOLS.index(protocol)].rsplit(":", 1)[1])
    return Client(protocol=protocol, port=port, host="127.0.0.1", **settings)


@defect("an executor's error is lost over WebSocket")
def test_each_of_200_errors_over_websocket_is_raised(real, hook):
    caller = Caller("websocket", real.ports["websocket"])
    count = 0
    for _ in range(200):
        try:
            caller.post("/fail", items(1))
        except BadServer:
            count += 1
    assert count == 200


@defect("every error status is sent again", not IS_SEED)
def test_a_request_that_the_gateway_refuses_is_sent_once(hook):
    with Gateway(docarray=DOCARRAY, faults=["status:422@100%"]) as gateway:
        with pytest.raises(ValueError):
            client_of(gateway, "http").post("/upper", items(1), max_attempts=3, initial_backoff=0.01, **RETURN)
        assert len(gateway.journal) == 1


@defect("a request that times out is not sent again", not IS_SEED)
def test_a_request_that_times_out_is_sent_again(hook):
    with Gateway(docarray=DOCARRAY, faults=["stall@1"]) as gateway:
        answered = client_of(gateway, "http").post(
            "/upper", items(1), max_attempts=3, initial_backoff=0.01, timeout=1, **RETURN
        )
        assert [item.text for item in answered] == ["T0"]


@defect("the first wait is initial_backoff, and longer than max_backoff", not IS_SEED)
@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_no_wait_is_longer_than_max_backoff(protocol, hook):
    client = Client(protocol=protocol, port=free_port(), host="127.0.0.1")
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        client.post("/upper", items(1), max_attempts=2, initial_backoff=1.5, max_backoff=0.01, **RETURN)
    assert time.monotonic() - began < 1.5


@defect("the whole stream is sent again, and callbacks are called again", not IS_SEED)
def test_a_stream_that_breaks_calls_back_once_for_each_request(hook):
    # Jina's own client now and then has read all answers before the stream breaks.
    for _ in range(5):
        with Gateway(docarray=DOCARRAY, faults=["drop@5"]) as gateway:
            done = []
            client = client_of(gateway, "grpc")
            client.post(
                "/upper", items(8), request_size=1, prefetch=1, on_done=done.append, max_attempts=3,
                initial_backoff=0.01, **RETURN,
            )  # fmt: skip
            assert len(done) == 8


@defect("requests are sent again on the dead socket")
def test_a_websocket_that_breaks_is_opened_again(hook):
    with Gateway(docarray=DOCARRAY, faults=["drop@3"]) as gateway:
        answered = client_of(gateway, "websocket").post(
            "/upper", items(6), request_size=1, max_attempts=3, initial_backoff=0.01, results_in_order=True,
            **RETURN,
        )  # fmt: skip
        assert [item.text for item in answered] == [f"T{number}" for number in range(6)]


@defect("a WebSocket that is closed with work outstanding is a CancelledError without a reason")
def test_a_websocket_that_closes_says_why(hook):
    with Gateway(docarray=DOCARRAY, faults=["close:1001:moving away@1"]) as gateway:
        with pytest.raises(ConnectionError, match="moving away"):
            client_of(gateway, "websocket").post("/upper", items(1), **RETURN)


@defect("an answer over 4 MiB closes the WebSocket")
def test_a_large_answer_arrives_over_websocket(real, hook):
    caller = Caller("websocket", real.ports["websocket"])
    (response,) = caller.post(
        "/big", items(1), parameters={"bytes": 5 << 20}, return_responses=True
    )
    assert response.status.code == 0 and response.nbytes > 5 << 20


@defect("cookies raise on WebSocket")
def test_cookies_are_sent_over_websocket(hook):
    with Gateway(docarray=DOCARRAY) as gateway:
        client_of(gateway, "websocket").post("/upper", items(1), cookies={"a": "1"}, **RETURN)
        assert gateway.journal[-1].headers["cookie"] == "a=1"


@defect("each call opens a connection")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_twenty_calls_share_a_connection(protocol, hook):
    if IS_SEED and protocol == "websocket":
        pytest.skip("a gateway of 3.14.1 does not end while a WebSocket is open, so each call has its own")
    with Gateway(docarray=DOCARRAY) as gateway:
        relay = Relay(int(gateway.urls[PROTOCOLS.index(protocol)].rsplit(":", 1)[1]))
        client = Client(protocol=protocol, port=relay.port, host="127.0.0.1")
        for _ in range(20):
            client.post("/upper", items(1), **RETURN)
        relay.close()
        # What the gateway is may be asked on a connection of its own.
        assert relay.count <= 3


@defect("answers are kept until the call ends, though they were taken")
@pytest.mark.parametrize("protocol", ["websocket", "grpc"])
def test_answers_that_were_taken_are_let_go(protocol, hook):
    with Gateway(docarray=DOCARRAY, journal=False) as gateway:
        client = client_of(gateway, protocol, asyncio=True)

        async def most_alive():
            taken, most = [], 0
            stream = client.post(
                "/upper", items(200), request_size=1, prefetch=10, stream=False, return_responses=True, **RETURN
            )
            async for response in stream:
                taken.append(weakref.ref(response))
                most = max(most, sum(one() is not None for one in taken))
            assert len(taken) == 200
            return most

        assert asyncio.run(most_alive()) <= 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_answers_that_are_not_taken_hold_back_the_input(protocol):
    with clientlet.install_jina(), Gateway(docarray=DOCARRAY) as gateway:
        client = client_of(gateway, protocol, asyncio=True)

        async def take_one():
            stream = client.post("/upper", items(200), request_size=1, prefetch=10, **RETURN)
            async for _ in stream:
                break
            # Until nothing arrives any more.
            before = -1
            while before != len(gateway.journal):
                before = len(gateway.journal)
                await asyncio.sleep(0.05)
            await stream.aclose()

        asyncio.run(take_one())
        assert len(gateway.journal) <= 12


@defect("the client spins while it waits for answers at the limit of prefetch")
@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_waiting_costs_no_cpu(real, protocol, hook):
    caller = Caller(protocol, real.ports[protocol])
    caller.post("/upper", items(1))
    began = time.process_time()
    caller.post("/slow", items(3), parameters={"seconds": 0.4}, request_size=1, prefetch=1)
    # Spinning takes all of the 1.2 seconds that the machine gives.
    assert time.process_time() - began < 0.3


@defect("what a call sets sticks to the client")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_settings_of_a_call_do_not_stick(real, protocol, hook):
    caller = Caller(protocol, real.ports[protocol])
    caller.post("/upper", items(2), prefetch=1, parameters={"a": 1})
    assert vars(caller.client.args)["prefetch"] == 1000
    assert not {"parameters", "data"} & set(vars(caller.client.args))


@defect("one lock is held for the whole stream of any client")
def test_a_long_stream_does_not_hold_up_other_clients(real, hook):
    port = real.ports["grpc"]
    may_end, has_begun, ended = threading.Event(), threading.Event(), []

    def inputs():
        yield Item(text="a")
        has_begun.set()
        # Another client's call ends meanwhile, if nothing holds it up.
        may_end.wait(3)
        yield Item(text="b")

    def long():
        Caller("grpc", port).post("/upper", inputs, request_size=1, prefetch=2)
        ended.append("long")

    thread = threading.Thread(target=long)
    thread.start()
    has_begun.wait()
    Caller("grpc", port).post("/upper", items(1))
    ended.append("short")
    may_end.set()
    thread.join()
    assert ended == ["short", "long"]


@defect("inside a running loop the true error is replaced")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_inside_a_running_loop_the_true_error_is_raised(protocol, hook):
    client = Client(protocol=protocol, port=free_port(), host="127.0.0.1")

    async def notebook():
        client.post("/upper", items(1), **RETURN)

    with pytest.raises(ConnectionError):
        asyncio.run(notebook())


@defect("one failed HTTP request ends the others even with continue_on_error")
def test_a_failed_request_over_http_does_not_end_the_others(hook):
    with Gateway(docarray=DOCARRAY, faults=["status:500@2"]) as gateway:
        answered = client_of(gateway, "http").post(
            "/upper", items(4), request_size=1, prefetch=1, continue_on_error=True, **RETURN
        )
        assert [item.text for item in answered] == ["T0", "T2", "T3"]


@defect("documents v2 beyond 100 in an HTTP request are lost without a word", docarray_v2)
@pytest.mark.parametrize("size", [1000, -1])
def test_all_documents_of_a_large_request_over_http_come_back(real, hook, size):
    responses = Caller("http", real.ports["http"]).post(
        "/upper", items(250), request_size=size, results_in_order=True, return_responses=True
    )
    sizes = [len(response.docs) for response in responses]
    assert sizes == ([100, 100, 50] if docarray_v2 else [250])


@defect("an exception of a callback is lost over WebSocket", not IS_SEED)
def test_each_exception_of_a_callback_over_websocket_is_raised(real, hook):
    from jina.excepts import BadClientCallback

    caller = Caller("websocket", real.ports["websocket"])
    count = 0
    for _ in range(30):
        try:
            caller.post("/upper", items(1), on_done=lambda response: 1 / 0)
        except BadClientCallback:
            count += 1
    assert count == 30


@defect("an exception of the input is a CancelledError over gRPC")
def test_an_exception_of_the_input_over_grpc_is_raised(real, hook):
    def inputs():
        yield Item(text="a")
        raise KeyError("oh")

    with pytest.raises(KeyError, match="oh"):
        Caller("grpc", real.ports["grpc"]).post("/upper", inputs, request_size=1)


@defect("the constructor takes http_proxy away from the process")
def test_the_variables_of_proxies_stay(hook, monkeypatch):
    # Python does not see what happens to the environment of the process; its children do.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    Client(port=1)
    told = subprocess.run(["printenv", "http_proxy"], stdout=subprocess.PIPE, text=True)
    assert told.stdout.strip() == "http://127.0.0.1:1"


@pytest.mark.skipif(not docarray_v2, reason="documents v1 are not streamed")
@defect("a document of a stream that holds `event: ` is cut")
def test_a_document_of_a_stream_that_holds_event_is_whole(real, hook):
    from beside_jina import Part

    async def texts():
        client = Client(protocol="http", port=real.ports["http"], host="127.0.0.1", asyncio=True)
        stream = client.stream_doc("/stream", Part(text="an event: x"), return_type=Part)
        return [part.text async for part in stream]

    assert asyncio.run(texts()) == [f"an event: x {number}" for number in range(3)]


@pytest.mark.skipif(not docarray_v2, reason="documents v1 are not streamed")
@defect("an endpoint that gives no stream is an empty one")
def test_an_endpoint_without_a_stream_is_an_error(real, hook):
    from beside_jina import Part

    async def texts():
        client = Client(protocol="http", port=real.ports["http"], host="127.0.0.1", asyncio=True)
        return [part.text async for part in client.stream_doc("/upper", Part(text="a"), return_type=Part)]

    with pytest.raises(BadServer):
        asyncio.run(texts())


@defect("a program that has ended its calls is told of tasks that were never waited for", False)
def test_nothing_is_printed_at_the_end_of_a_program(real, hook):
    program = f"""
import clientlet
clientlet.install_jina()
from beside_jina import *
Caller("websocket", {real.ports["websocket"]}).post("/upper", items(1))
"""
    folder = os.path.dirname(__file__)
    path = os.pathsep.join([folder, *sys.path])
    ended = subprocess.run(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert (ended.returncode, ended.stderr) == (0, "")
