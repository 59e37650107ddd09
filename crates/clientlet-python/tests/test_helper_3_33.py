"""`clientlet.helper_3_33`: what differs from `clientlet.helper`, as Jina 3.33.1 has it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle

import pytest

import clientlet
from clientlet import ConnectError, helper
from clientlet.helper_3_33 import (
    AioHttpClientlet,
    HTTPClientlet,
    WebsocketClientlet,
    WsResponseIter,
    _bad_client,
    handle_response_status,
)
from clientlet.testing import Gateway

HELLO = {"data": [{"text": "hello"}], "header": {"exec_endpoint": "/upper"}}


def test_the_base_class_has_no_address_and_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        AioHttpClientlet(None)
    assert issubclass(HTTPClientlet, AioHttpClientlet) and issubclass(WebsocketClientlet, AioHttpClientlet)
    assert WsResponseIter is helper.WsResponseIter


def test_the_attributes_are_there_from_the_beginning():
    clientlet_ = HTTPClientlet("logger", 2)
    assert (clientlet_.logger, clientlet_.max_attempts, clientlet_.max_backoff) == ("logger", 2, 2)
    assert (clientlet_.initial_backoff, clientlet_.backoff_multiplier) == (0.5, 1.5)
    assert (clientlet_.msg_recv, clientlet_.msg_sent, clientlet_.session) == (0, 0, None)
    assert not hasattr(clientlet_, "url") and clientlet_.UPDATE_EVENT_PREFIX == 14
    websocket = WebsocketClientlet("ws://localhost:1", "logger", 2)
    assert (websocket.url, websocket.logger, websocket.max_attempts) == ("ws://localhost:1", "logger", 2)
    assert (websocket.websocket, websocket.response_iter) == (None, None)


def test_send_message_returns_the_status_and_the_body(run, gateway):
    async def use():
        async with HTTPClientlet(logger=None) as clientlet_:
            status, body = await clientlet_.send_message(url=f"{gateway.url}/post", request=HELLO)
            assert (clientlet_.msg_sent, clientlet_.msg_recv) == (1, 1)
            return status, body["data"][0]["text"]

    assert run(use()) == (200, "HELLO")


def test_one_session_serves_many_addresses_and_tasks(run, gateway):
    async def use():
        with Gateway() as other:
            async with HTTPClientlet(None) as clientlet_:
                urls = [f"{gateway.url}/post", f"{other.url}/post", f"{gateway.url}/search"] * 8
                answers = await asyncio.gather(*(clientlet_.send_message(url, HELLO) for url in urls))
                return [status for status, _ in answers], len(other.journal)

    statuses, arrived = run(use())
    assert (statuses, arrived) == ([200] * 24, 8)


def test_a_session_used_by_hand_works_as_jinas_client_uses_it(run, gateway):
    async def use():
        clientlet_ = await HTTPClientlet(None).__aenter__()
        first = await clientlet_.send_message(f"{gateway.url}/post", HELLO)
        await clientlet_.__aexit__(None, None, None)
        with pytest.raises(clientlet.ClosedError, match="again"):
            await clientlet_.send_message(f"{gateway.url}/post", HELLO)
        return first[0]

    assert run(use()) == 200


def test_an_address_is_encoded_as_urls_are(run):
    with Gateway({"/mit leer": lambda request: None}, docarray="v2") as gateway:

        async def use():
            async with HTTPClientlet(None) as clientlet_:
                return (await clientlet_.send_message(f"{gateway.url}/mit leer", {"data": []}))[0]

        assert run(use()) == 200


def test_a_404_is_a_bad_client(run, gateway):
    async def use():
        async with HTTPClientlet(None) as clientlet_:
            await clientlet_.send_message(f"{gateway.url}/nowhere", HELLO)

    with pytest.raises(_bad_client(), match="no such endpoint .*/nowhere"):
        run(use())


def test_a_dead_executor_is_a_connection_error_with_the_description(run, gateway):
    gateway.executor_down()

    async def use():
        async with HTTPClientlet(None) as clientlet_:
            await clientlet_.send_message(f"{gateway.url}/post", HELLO)

    with pytest.raises(ConnectionError, match="deployment"):
        run(use())


def test_an_executors_exception_is_a_value_error_with_the_body(run):
    def fail(request):
        raise ValueError("boom")

    with Gateway({"/fail": fail}, docarray="v2") as gateway:

        async def use():
            async with HTTPClientlet(None, max_attempts=3) as clientlet_:
                await clientlet_.send_message(f"{gateway.url}/fail", {"data": []})

        with pytest.raises(ValueError, match="boom"):
            run(use())
        assert len(gateway.journal) == 1, "it is not sent again"


@contextlib.asynccontextmanager
async def answering(head, body):
    """The address of a port that gives this answer to each request."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        lines = f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(lines.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/post"


JSON = "\r\ncontent-type: application/json"
DOWN = b'{"header": {"status": {"description": "it is down"}}}'


@pytest.mark.parametrize(
    "head, body, error, original, told",
    [
        ("401 Unauthorized", b"who", clientlet.Error, ValueError, ("gateway", False, False, None)),
        ("404 Not Found", b"no", clientlet.NotFoundError, _bad_client(), ("not_found", False, False, None)),
        ("429 Slow\r\nRetry-After: 3", b"x", clientlet.RateLimitedError, ValueError, ("rate_limited", False, True, 3.0)),
        ("500 No" + JSON, b'{"detail": "boom"}', clientlet.ExecutorError, ValueError, ("executor", True, False, None)),
        ("500 No", b"plain", clientlet.Error, ValueError, ("gateway", True, False, None)),
        ("503 Away", b"plain", clientlet.Error, ValueError, ("gateway", True, True, None)),
        ("503 Away" + JSON, DOWN, clientlet.GatewayError, ConnectionError, ("gateway", True, True, None)),
        ("200 OK" + JSON, b'{"data": [', clientlet.DecodeError, json.JSONDecodeError, ("decode", True, False, None)),
    ],
)
def test_an_answer_that_is_no_success_is_an_error_of_this_package_and_that_of_the_original(
    run, head, body, error, original, told
):
    async def use():
        async with answering(head, body) as url, HTTPClientlet(None) as clientlet_:
            with pytest.raises(original) as raised:
                await clientlet_.send_message(url, HELLO)
            return raised.value, url

    found, url = run(use())
    assert isinstance(found, error)
    assert isinstance(found, ConnectionError) == (original is ConnectionError), "callers connect again after those"
    assert (found.kind, found.may_have_run, found.is_retryable, found.retry_after) == told
    assert (found.delivery, found.http_status, found.protocol) == ("answered", int(head[:3]), "http")
    assert found.gateway == url.removesuffix("/post") and found.message == str(found) != ""
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, error) and (again.args, again.kind) == (found.args, found.kind)


def test_the_form_of_3_14_is_named_to_callers_that_give_the_address_here():
    with pytest.raises(TypeError, match="'url': .*send_message takes the address; clientlet.helper has the form"):
        HTTPClientlet(url="http://h/post", logger=None)
    with pytest.raises(TypeError, match="the logger of HTTPClientlet is an address: .*clientlet.helper has the form"):
        HTTPClientlet("http://h/post")


def test_only_statuses_that_another_attempt_may_change_are_retried(run):
    async def use(gateway, path):
        async with HTTPClientlet(None, 2, 0.01, 0.01) as clientlet_:
            return (await clientlet_.send_message(gateway.url + path, HELLO))[0]

    with Gateway(faults=["status:503@1"]) as gateway:
        assert run(use(gateway, "/post")) == 200
    with Gateway(faults=["status:503@100%"]) as gateway:
        with pytest.raises((ConnectionError, ValueError)):
            run(use(gateway, "/post"))
        assert len(gateway.journal) == 2
    with Gateway() as gateway:
        with pytest.raises(_bad_client()):
            run(use(gateway, "/nowhere"))
        assert len(gateway.journal) <= 1


def test_a_closed_port_is_a_connection_error(run):
    async def use():
        async with HTTPClientlet(None) as clientlet_:
            await clientlet_.send_message("http://127.0.0.1:1/post", HELLO)

    with pytest.raises(ConnectError, match="nothing listens") as raised:
        run(use())
    assert isinstance(raised.value, ConnectionError)


def test_send_dry_run_gets_the_address(run, gateway):
    async def use():
        async with HTTPClientlet(None) as clientlet_:
            answer = await clientlet_.send_dry_run(url=f"{gateway.url}/dry_run", timeout=3)
            return answer.status, (await answer.json())["code"]

    assert run(use()) == (200, 0)


def test_send_streaming_message_yields_documents_as_json(run):
    class Own:
        def to_dict(self):
            return {"text": "event: é"}

    with Gateway(docarray="v2") as gateway:

        async def use(doc):
            async with HTTPClientlet(None) as clientlet_:
                stream = clientlet_.send_streaming_message(url=f"{gateway.url}/stream", doc=doc, on="/stream")
                found = [json.loads(document)["text"] async for document in stream]
                assert clientlet_.msg_recv == len(found)
                return found

        texts = run(use(Own()))
        assert len(texts) == 3 and all("event: é" in text for text in texts)
        assert run(use({"text": "event: é"})) == texts


def test_send_streaming_message_reports_why_there_is_no_stream(run):
    with Gateway({"/count": lambda request: None}, docarray="v2") as gateway:

        async def use(url):
            async with HTTPClientlet(None) as clientlet_:
                async for _ in clientlet_.send_streaming_message(url, {"text": "a"}, "/x"):
                    pass

        with pytest.raises(clientlet.NotFoundError):
            run(use(f"{gateway.url}/nowhere"))
        with pytest.raises(ConnectionError):
            run(use("http://127.0.0.1:1/count"))


def test_before_start_it_says_what_to_do(run):
    async def use():
        clientlet_ = HTTPClientlet(None)
        stream = clientlet_.send_streaming_message("http://h/x", {}, "/x")
        calls = (clientlet_.send_message("http://h/x", {}), clientlet_.send_dry_run("http://h/x"), stream.__anext__())
        for call in calls:
            with pytest.raises(clientlet.ClosedError, match=r"await its start\(\) first"):
                await call

    run(use())


def test_recv_message_and_recv_dry_run_over_http_never_return(run):
    async def use():
        clientlet_ = HTTPClientlet(None)
        for receiving in (clientlet_.recv_message(), clientlet_.recv_dry_run()):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(receiving, 0.01)

    run(use())


def test_connecting_a_websocket_is_retried(run):
    async def use(gateway, attempts):
        async with WebsocketClientlet(gateway.websocket_url, None, attempts, 0.01, 0.01) as clientlet_:
            await clientlet_.send_message(HELLO)
            await clientlet_.send_eoi()
            return [response async for response in clientlet_.recv_message()]

    with Gateway(faults=["refuse@1"]) as gateway:
        assert len(run(use(gateway, 2))) == 1
    with Gateway(faults=["refuse@1"]) as gateway, pytest.raises(ConnectionError):
        run(use(gateway, 1))


@pytest.mark.parametrize(
    "status, content, error, message",
    [
        (404, {}, _bad_client(), "no such endpoint http://h"),
        (503, {"header": {"status": {"description": "it is down"}}}, ConnectionError, "it is down"),
        (504, {"header": {"status": {"description": "it is slow"}}}, ConnectionError, "it is slow"),
        (503, {"header": {"status": None}}, ValueError, "status"),
        (503, "plain", ValueError, "plain"),
        (500, {"detail": "boom"}, ValueError, "boom"),
        (301, "moved", ValueError, "moved"),
    ],
)
def test_handle_response_status_raises_what_a_status_means(status, content, error, message):
    with pytest.raises(error, match=message):
        handle_response_status(http_status=status, response_content=content, url="http://h")


@pytest.mark.parametrize("status", [200, 201, 300])
def test_handle_response_status_takes_a_success(status):
    assert handle_response_status(status, {}, "http://h") is None
