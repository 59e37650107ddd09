"""`clientlet.helper`: each method and attribute in its documented form, and each error."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys

import pytest

import clientlet
from clientlet import DecodeError
from clientlet.helper import AioHttpClientlet, HTTPClientlet, WebsocketClientlet, WsResponseIter
from clientlet.testing import Gateway

HELLO = {"data": [{"text": "hello"}], "header": {"exec_endpoint": "/upper"}}


class Logger:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def critical(self, message):
        self.told.append(message)


@pytest.fixture
def logger():
    return Logger()


@pytest.fixture
def post(gateway):
    return f"{gateway.url}/post"


def texts(answer):
    return [document["text"] for document in answer["data"]]


def read(response, docarray="v1"):
    """Reads an answer over WebSocket, which is Jina's where Jina is installed. Jina cannot read the documents of
    the other generation, so the package reads the bytes."""
    from clientlet._messages import DataRequest

    return DataRequest(getattr(response, "buffer", None) or response.SerializeToString(), docarray)


def texts_of(response):
    return [document["text"] for document in read(response).docs]


# AioHttpClientlet


def test_the_base_class_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        AioHttpClientlet("http://localhost:1", None)
    assert issubclass(HTTPClientlet, AioHttpClientlet) and issubclass(WebsocketClientlet, AioHttpClientlet)


def test_a_class_of_ones_own_can_be_built_on_the_base_class(run, post):
    class Own(AioHttpClientlet):
        async def send_message(self):
            return "sent"

        async def send_dry_run(self):
            return "asked"

        async def recv_message(self):
            return "received"

    async def use():
        async with Own(post, None) as clientlet:
            assert not clientlet.session.closed
            said = await clientlet.send_message(), await clientlet.recv_dry_run()
        assert clientlet.session.closed
        return said

    assert run(use()) == ("sent", None)


@pytest.mark.parametrize("kind", [HTTPClientlet, WebsocketClientlet])
def test_the_attributes_are_there_from_the_beginning(kind, logger):
    clientlet = kind("http://localhost:1", logger)
    assert (clientlet.url, clientlet.logger) == ("http://localhost:1", logger)
    assert (clientlet.msg_recv, clientlet.msg_sent, clientlet.session) == (0, 0, None)
    assert (clientlet.max_attempts, clientlet.initial_backoff) == (1, 0.5)
    assert (clientlet.max_backoff, clientlet.backoff_multiplier) == (0.1, 1.5)
    clientlet = kind("http://localhost:1", logger, 2, 3, 4, 5, None)
    assert (clientlet.max_attempts, clientlet.initial_backoff) == (2, 3)
    assert (clientlet.max_backoff, clientlet.backoff_multiplier) == (4, 5)


def test_start_opens_and_close_closes_and_start_opens_again(run, post):
    async def use():
        clientlet = HTTPClientlet(post, None)
        assert await clientlet.start() is clientlet and not clientlet.session.closed
        await clientlet.close(None, None, None)
        assert clientlet.session.closed
        await clientlet.start()
        answer = await clientlet.send_message(HELLO)
        await clientlet.close()
        return answer.status

    assert run(use()) == 200


def test_close_before_start_and_twice_does_nothing(run, post, gateway):
    async def use():
        for clientlet in (HTTPClientlet(post, None), WebsocketClientlet(gateway.websocket_url, None)):
            await clientlet.close()
            async with clientlet:
                pass
            await clientlet.close()

    run(use())


@pytest.mark.parametrize(
    "argument, advice",
    [
        ("connector", "ssl and proxy"),
        ("base_url", "give the whole URL"),
        ("metadata", "this is gRPC's; give headers"),
        ("credentials", "this is gRPC's; give ssl"),
        ("verify_ssl", "give ssl=False"),
        ("heders", "it takes headers, auth.* tracer_provider"),
    ],
)
@pytest.mark.parametrize("kind", [HTTPClientlet, WebsocketClientlet])
def test_an_argument_that_cannot_be_honoured_is_named_with_advice(kind, argument, advice):
    with pytest.raises(TypeError, match=f"{kind.__name__} cannot honour the argument '{argument}': .*{advice}"):
        kind("http://localhost:1", None, **{argument: object()})


def test_arguments_that_jinas_client_hands_on_mean_nothing(run, post):
    async def use():
        others = dict(exec_endpoint="/", on="/", request_size=1, parameters={}, target_executor=None)
        async with HTTPClientlet(post, None, **others, stream=True, timeout=None) as clientlet:
            return (await clientlet.send_message(HELLO)).status

    assert run(use()) == 200


def arrived(run, gateway, **settings):
    """The headers that arrive with these settings."""

    async def use():
        async with HTTPClientlet(f"{gateway.url}/post", None, **settings) as clientlet:
            answer = await clientlet.send_message(HELLO)
            assert answer.status == 200

    run(use())
    return gateway.journal[-1].headers


@pytest.mark.parametrize("headers", [{"X-Tenant": "a"}, [("X-Tenant", "a")]])
def test_headers_arrive(run, gateway, headers):
    assert arrived(run, gateway, headers=headers)["x-tenant"] == "a"


def test_auth_is_a_pair_or_one_of_aiohttp(run, gateway):
    expected = "Basic dTpw"
    assert arrived(run, gateway, auth=("u", "p"))["authorization"] == expected
    aiohttp = pytest.importorskip("aiohttp")
    assert arrived(run, gateway, auth=aiohttp.BasicAuth("u", "p"))["authorization"] == expected
    latin = aiohttp.BasicAuth("ü", "p")
    assert arrived(run, gateway, auth=latin)["authorization"] == latin.encode()


def test_auth_beside_a_header_authorization_is_refused():
    with pytest.raises(ValueError, match="exclude each other"):
        HTTPClientlet("http://localhost:1", None, auth=("u", "p"), headers={"authorization": "x"})


def test_cookies_are_names_and_values_or_a_simple_cookie(run, gateway):
    from http.cookies import SimpleCookie

    assert arrived(run, gateway, cookies={"a": "1"})["cookie"] == "a=1"
    assert arrived(run, gateway, cookies=SimpleCookie("a=1"))["cookie"] == "a=1"


def test_the_cookies_work_over_websocket_too(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None, cookies={"a": "1"}) as clientlet:
            await clientlet.send_message(HELLO)
            async for _ in clientlet.recv_message():
                break

    run(use())
    assert gateway.journal[-1].headers["cookie"] == "a=1"


def test_timeout_is_seconds_or_one_of_aiohttp(run):
    async def use(gateway, timeout):
        async with HTTPClientlet(f"{gateway.url}/post", None, timeout=timeout) as clientlet:
            with pytest.raises(TimeoutError):
                await clientlet.send_message(HELLO)

    with Gateway(faults=["stall@100%"]) as gateway:
        run(use(gateway, 0.05))
        if "aiohttp" in sys.modules:
            aiohttp = sys.modules["aiohttp"]
            run(use(gateway, aiohttp.ClientTimeout(total=0.05)))
            run(use(gateway, aiohttp.ClientTimeout(sock_read=0.05)))


def test_timeout_bounds_connecting_over_websocket(run):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async def connect():
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with WebsocketClientlet(url, None, timeout=0.05):
                pass

    with pytest.raises(clientlet.TimeoutError):
        run(connect())


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_a_timeout_of_zero_and_less_is_none_as_with_aiohttp(run, post, timeout):
    async def use(limit):
        async with HTTPClientlet(post, None, timeout=limit) as clientlet:
            assert (await clientlet.send_message(HELLO)).status == 200

    run(use(timeout))
    aiohttp = sys.modules.get("aiohttp")
    if aiohttp is not None:
        run(use(aiohttp.ClientTimeout(total=timeout, sock_read=timeout)))


@pytest.mark.parametrize("kind", [HTTPClientlet, WebsocketClientlet])
def test_attempts_that_are_no_number_are_named(kind):
    with pytest.raises(TypeError, match="max_attempts: a whole number is expected, not str"):
        kind("http://localhost:1", None, max_attempts="3")


@pytest.mark.parametrize(
    "argument, value, error, message",
    [
        ("headers", 3, TypeError, "headers must be a mapping or pairs, not int"),
        ("cookies", 3, TypeError, "cookies must be a mapping or pairs, not int"),
        ("docarray", "v3", ValueError, "docarray is \"v1\" or \"v2\", not 'v3'"),
        ("initial_backoff", "x", TypeError, "initial_backoff"),
        ("max_backoff", "x", TypeError, "max_backoff"),
        ("backoff_multiplier", "x", TypeError, "backoff_multiplier"),
    ],
)
@pytest.mark.parametrize("kind, scheme", [(HTTPClientlet, "http"), (WebsocketClientlet, "ws")])
def test_a_value_that_cannot_be_used_is_named(run, kind, scheme, argument, value, error, message):
    async def use():
        async with kind(f"{scheme}://localhost:1", None, **{argument: value}):
            pass

    with pytest.raises(error, match=message):
        run(use())


def test_ssl_is_a_tls_or_false_to_accept_any_certificate(run):
    async def status(gateway, **settings):
        async with HTTPClientlet(f"{gateway.url}/post", None, **settings) as clientlet:
            return (await clientlet.send_message(HELLO)).status

    with Gateway(tls=True) as gateway:
        with pytest.raises(clientlet.TlsError):
            run(status(gateway))
        assert run(status(gateway, ssl=clientlet.Tls(ca=gateway.ca))) == 200
        assert run(status(gateway, ssl=False)) == 200


def test_ssl_of_a_context_is_refused_with_what_to_give_instead():
    import ssl

    with pytest.raises(TypeError, match="give a clientlet.Tls"):
        HTTPClientlet("https://localhost:1", None, ssl=ssl.create_default_context())


def test_proxy_and_its_auth_are_used(run, post):
    async def use(**proxy):
        async with HTTPClientlet("http://gateway.invalid/post", None, **proxy) as clientlet:
            return await clientlet.send_message(HELLO)

    # The gateway stands in for a proxy: it shows that it was asked.
    with Gateway() as gateway:
        run(use(proxy=gateway.url, proxy_auth=("u", "p@ss")))
        arrival = gateway.journal[-1]
    assert arrival.headers["host"] == "gateway.invalid"
    assert arrival.headers["proxy-authorization"] == "Basic dTpwQHNz"


def test_trust_env_takes_the_proxy_from_the_environment(run, monkeypatch):
    async def use(trust):
        async with HTTPClientlet("http://gateway.invalid/post", None, trust_env=trust) as clientlet:
            return (await clientlet.send_message(HELLO)).status

    with Gateway() as gateway:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, gateway.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        run(use(True))
        assert gateway.journal[-1].headers["host"] == "gateway.invalid"
        with pytest.raises(clientlet.ConnectError):
            run(use(False))
        assert os.environ["http_proxy"] == gateway.url


def test_the_tracer_provider_gets_a_span_below_the_current_one(run, gateway):
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    kept, provider = export.InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    headers = arrived(run, gateway, tracer_provider=provider)
    spans = kept.get_finished_spans()
    assert spans and headers["traceparent"].split("-")[1] == f"{spans[0].context.trace_id:032x}"


# HTTPClientlet


def test_send_message_over_http_posts_a_request_and_returns_its_answer(run, post):
    async def use():
        async with HTTPClientlet(post, None) as clientlet:
            answer = await clientlet.send_message(request=HELLO)
            async with answer as same:
                assert same is answer and answer.ok and answer.reason == "OK"
            assert (clientlet.msg_sent, clientlet.msg_recv) == (1, 1)
            assert str(answer.url) == post and answer.charset is None
            return answer.status, answer.headers["Content-Type"], await answer.json(), await answer.read()

    status, kind, answer, body = run(use())
    assert (status, kind, texts(answer)) == (200, "application/json", ["HELLO"])
    assert b"HELLO" in body


def test_send_message_over_http_takes_every_kind_of_request(run, post):
    class Own:
        def to_dict(self):
            return {**HELLO}

    ready = b'{"data": [{"text": "hello"}], "exec_endpoint": "/upper"}'

    async def use():
        async with HTTPClientlet(post, None) as clientlet:
            requests = (HELLO, Own(), ready, bytearray(ready), ready.decode())
            return [texts(await (await clientlet.send_message(request)).json()) for request in requests]

    assert run(use()) == [["HELLO"]] * 5
    assert "exec_endpoint" not in HELLO, "the caller's request is left as it is"


def test_send_message_over_http_returns_an_answer_with_a_bad_status(run, gateway):
    async def use():
        async with HTTPClientlet(f"{gateway.url}/nowhere", None) as clientlet:
            answer = await clientlet.send_message(HELLO)
            assert (answer.status, answer.ok) == (404, False)
            with pytest.raises(clientlet_error("ClientResponseError"), match="404"):
                answer.raise_for_status()
            return await answer.json()

    assert run(use()) == {"detail": "Not Found"}


def clientlet_error(name):
    """The error of aiohttp, where that is imported."""
    return getattr(sys.modules.get("aiohttp"), name, clientlet.Error)


def test_an_answer_that_is_not_json_is_text_and_an_error_as_json(run):
    async def use(gateway):
        async with HTTPClientlet(f"{gateway.url}/post", None) as clientlet:
            answer = await clientlet.send_message(HELLO)
            with pytest.raises(clientlet_error("ContentTypeError"), match="not JSON; read it by text()"):
                await answer.json()
            with pytest.raises(DecodeError):
                await answer.json()
            return answer.status, await answer.text()

    with Gateway(docarray="v2", faults=["status:500:text@1"]) as gateway:
        assert run(use(gateway))[0] == 500


def test_send_message_over_http_is_retried_until_there_is_an_answer(run):
    async def use(gateway, attempts):
        url, waits = f"{gateway.url}/post", (0.01, 0.01, 1.0)
        async with HTTPClientlet(url, None, attempts, *waits) as clientlet:
            return (await clientlet.send_message(HELLO)).status

    with Gateway(faults=["reset-after@1"]) as gateway:
        assert run(use(gateway, 2)) == 200
    with Gateway(faults=["reset-after@1"]) as gateway, pytest.raises(ConnectionError):
        run(use(gateway, 1))
    # An answer ends the attempts, whatever its status.
    with Gateway(faults=["status:503@1"]) as gateway:
        assert run(use(gateway, 3)) == 503


def test_send_message_to_a_closed_port_is_a_connection_error_of_both_libraries(run):
    async def use():
        async with HTTPClientlet("http://127.0.0.1:1/post", None) as clientlet:
            await clientlet.send_message(HELLO)

    with pytest.raises(clientlet.ConnectError, match="nothing listens") as raised:
        run(use())
    assert isinstance(raised.value, ConnectionError)
    assert isinstance(raised.value, clientlet_error("ClientConnectorError"))
    if "aiohttp" in sys.modules:
        found = raised.value
        assert (found.host, found.port, found.ssl) == ("127.0.0.1", 1, True)
        assert "nothing listens" in str(found.os_error)
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is clientlet.ConnectError and str(again) == str(raised.value)


@pytest.mark.parametrize("kind, scheme", [(HTTPClientlet, "https"), (WebsocketClientlet, "wss")])
def test_a_port_without_tls_is_an_error_of_ssl(run, gateway, kind, scheme):
    url = f"{scheme}://{gateway.url.partition('://')[2]}"

    async def use():
        async with kind(url, None) as clientlet_:
            await clientlet_.send_message(HELLO)

    with pytest.raises(clientlet.TlsError) as raised:
        run(use())
    assert isinstance(raised.value, clientlet_error("ClientSSLError"))


@pytest.mark.parametrize(
    "kind, scheme, said, error, names",
    [
        (HTTPClientlet, "http", b"garbage\r\n\r\n", DecodeError, ["ClientResponseError"]),
        (WebsocketClientlet, "ws", b"garbage\r\n\r\n", DecodeError, ["ClientResponseError"]),
        (HTTPClientlet, "http", b"", clientlet.TransportError, ["ServerDisconnectedError", "ClientOSError"]),
        (WebsocketClientlet, "ws", b"", clientlet.TransportError, ["ServerDisconnectedError", "ClientOSError"]),
        (WebsocketClientlet, "ws", b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", clientlet.GatewayError, ["WSServerHandshakeError"]),
        (WebsocketClientlet, "ws", b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", clientlet.Error, ["WSServerHandshakeError"]),
        (WebsocketClientlet, "ws", b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n", clientlet.Error, ["WSServerHandshakeError"]),
    ],
)  # fmt: skip
def test_another_server_at_the_address_is_a_connection_error_and_that_of_aiohttp(run, kind, scheme, said, error, names):
    async def say(reader, writer):
        await reader.read(10)
        writer.write(said)
        await writer.drain()
        writer.close()

    async def use():
        async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
            url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with kind(url, None) as clientlet_:
                await clientlet_.send_message(HELLO)

    with pytest.raises(error) as raised:
        run(use())
    found = raised.value
    assert isinstance(found, ConnectionError) and found.attempts
    assert "127.0.0.1" in str(found)
    for name in names:
        assert isinstance(found, clientlet_error(name))
    if names == ["WSServerHandshakeError"]:
        assert found.http_status == int(said[9:12])
        if "aiohttp" in sys.modules:
            assert found.status == found.http_status
    again = pickle.loads(pickle.dumps(found))
    assert isinstance(again, error) and str(again) == str(found)


@pytest.mark.parametrize("body", [b'{"data": [', b"no"])
def test_malformed_json_is_an_error_that_callers_of_the_original_catch(run, body):
    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async def use():
        async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with HTTPClientlet(url, None) as clientlet_:
                answer = await clientlet_.send_message(HELLO)
                for how in ({}, {"encoding": "utf-8"}):
                    with pytest.raises(DecodeError, match="malformed JSON; read it by text()") as raised:
                        await answer.json(**how)
                    assert isinstance(raised.value, json.JSONDecodeError) and raised.value.doc == body.decode()
                    assert (raised.value.delivery, raised.value.http_status) == ("answered", 200)
                return await answer.read()

    assert run(use()) == body


def test_an_answer_beyond_the_limit_is_an_error_of_both_libraries(run, post, gateway):
    long = {"data": [{"text": "x" * 5000}], "exec_endpoint": "/"}

    async def over_http():
        async with HTTPClientlet(post, None, answer_limit=1000) as clientlet_:
            await clientlet_.send_message(long)

    async def over_websocket():
        async with WebsocketClientlet(gateway.websocket_url, None, answer_limit=1000) as clientlet_:
            await clientlet_.send_message(long)
            async for _ in clientlet_.recv_message():
                pass

    for use in (over_http, over_websocket):
        with pytest.raises(clientlet.TooLargeError) as raised:
            run(use())
        assert isinstance(raised.value, clientlet_error("ClientPayloadError"))


def test_send_dry_run_over_http_gets_its_address(run, gateway):
    async def use():
        async with HTTPClientlet(f"{gateway.url}/dry_run", None) as clientlet:
            answer = await clientlet.send_dry_run(timeout=3, target_executor="ignored")
            return answer.status, await answer.json()

    assert run(use()) == (200, {"code": 0, "description": "", "exception": None})


def test_recv_message_and_recv_dry_run_over_http_never_return(run, post):
    async def use():
        async with HTTPClientlet(post, None) as clientlet:
            for receiving in (clientlet.recv_message(), clientlet.recv_dry_run()):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(receiving, 0.01)

    run(use())


@pytest.mark.parametrize("kind, scheme", [(HTTPClientlet, "http"), (WebsocketClientlet, "ws")])
def test_sending_before_start_and_after_close_says_what_to_do(run, kind, scheme, gateway):
    url = gateway.url if kind is HTTPClientlet else gateway.websocket_url

    async def use():
        clientlet_ = kind(url, None)
        for send in (lambda: clientlet_.send_message(HELLO), clientlet_.send_dry_run):
            with pytest.raises(clientlet.ClosedError, match=r"await its start\(\) first"):
                await send()
        async with clientlet_:
            pass
        for send in (lambda: clientlet_.send_message(HELLO), clientlet_.send_dry_run):
            with pytest.raises(clientlet.ClosedError, match="again"):
                await send()

    run(use())


def test_an_object_that_is_no_request_is_refused(run, post, gateway):
    async def use():
        async with HTTPClientlet(post, None) as http, WebsocketClientlet(gateway.websocket_url, None) as ws:
            with pytest.raises(TypeError, match=r"has to_dict\(\), not int"):
                await http.send_message(1)
            with pytest.raises(TypeError, match=r"has SerializeToString\(\), not int"):
                await ws.send_message(1)
            with pytest.raises(clientlet.EncodeError, match="cannot be written as JSON"):
                await http.send_message({"data": object()})

    run(use())


def test_an_address_that_cannot_be_used_is_refused_by_start(run):
    async def use(kind, url):
        async with kind(url, None):
            pass

    for kind, url in [(HTTPClientlet, "nowhere"), (HTTPClientlet, "ws://h:1"), (WebsocketClientlet, "grpc://h:1")]:
        with pytest.raises(clientlet.ConfigError):
            run(use(kind, url))


def test_many_tasks_share_a_session(run, post):
    async def use():
        async with HTTPClientlet(post, None) as clientlet:

            async def one(number):
                answer = await clientlet.send_message({"data": [{"text": f"t{number}"}], "exec_endpoint": "/upper"})
                return texts(await answer.json())[0]

            return await asyncio.gather(*map(one, range(64)))

    assert run(use()) == [f"T{number}" for number in range(64)]


# WebsocketClientlet


def test_send_message_over_websocket_and_recv_message_belong_together(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            await clientlet.send_message(request=HELLO)
            await clientlet.send_message({"data": [{"text": "world"}], "exec_endpoint": "/upper"})
            found = []
            async for response in clientlet.recv_message():
                found += texts_of(response)
                if len(found) == 2:
                    break
            assert (clientlet.msg_sent, clientlet.msg_recv) == (2, 2)
            assert (clientlet.close_code, clientlet.close_message) == (None, None)
            return sorted(found)

    assert run(use()) == ["HELLO", "WORLD"]


def test_the_address_of_a_websocket_may_be_that_of_the_gateway(run, gateway):
    async def use(url):
        async with WebsocketClientlet(url, None) as clientlet_:
            assert clientlet_.url == url
            await clientlet_.send_message(HELLO)
            async for response in clientlet_.recv_message():
                return texts_of(response)

    rest = gateway.websocket_url.removeprefix("ws")
    for scheme in ("http", "HTTP", "ws", "WS"):
        assert run(use(scheme + rest)) == ["HELLO"], scheme
    with pytest.raises(clientlet.TlsError):
        run(use("https" + rest))


def test_send_message_over_websocket_takes_every_kind_of_request(run, gateway):
    from clientlet._messages import DataRequest

    async def use():
        ready = DataRequest(HELLO).SerializeToString()
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            for request in (HELLO, DataRequest(HELLO), ready, memoryview(ready)):
                await clientlet.send_message(request)
            await clientlet.send_eoi()
            return [texts_of(response) async for response in clientlet.recv_message()]

    assert run(use()) == [["HELLO"]] * 4


def test_documents_v2_are_sent_and_received_over_websocket(run, v2):
    request = {"data": [{"text": "a"}], "header": {"exec_endpoint": "/echo", "request_id": "r"}}

    async def use():
        async with WebsocketClientlet(v2.websocket_url, None, docarray="v2") as clientlet:
            await clientlet.send_message(request)
            await clientlet.send_eoi()
            return [read(response, "v2").header.request_id async for response in clientlet.recv_message()]

    assert run(use()) == ["r"]


def test_send_eoi_ends_the_answers_with_1000(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            await clientlet.send_message(HELLO)
            await clientlet.send_eoi()
            found = [texts_of(response) async for response in clientlet.recv_message()]
            assert (clientlet.close_code, clientlet.close_message) == (1000, "")
            assert clientlet.websocket.closed
            # It is no error once the connection is closed.
            await clientlet.send_eoi()
            return found

    assert run(use()) == [["HELLO"]]


def test_send_dry_run_over_websocket_and_recv_dry_run_belong_together(run, gateway):
    async def use():
        async with WebsocketClientlet(f"{gateway.websocket_url}/dry_run", None) as clientlet:
            await clientlet.send_dry_run()
            return [status.proto.code async for status in clientlet.recv_dry_run()], clientlet.close_code

    assert run(use()) == ([0], 1000)


def test_close_code_and_close_message_say_why_an_executor_is_down(run, gateway):
    gateway.executor_down()

    async def use():
        async with WebsocketClientlet(f"{gateway.websocket_url}/dry_run", None) as clientlet:
            await clientlet.send_dry_run()
            found = [status async for status in clientlet.recv_dry_run()]
            return found, clientlet.close_code, clientlet.close_message

    found, code, message = run(use())
    assert (found, code) == ([], 1011) and message


def test_a_second_receiver_is_refused_and_the_first_goes_on(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            receiving = asyncio.ensure_future(clientlet.recv_message().__anext__())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one receiver at a time"):
                await clientlet.recv_message().__anext__()
            with pytest.raises(RuntimeError, match="one receiver at a time"):
                await clientlet.websocket.receive()
            await clientlet.send_message(HELLO)
            return texts_of(await receiving)

    assert run(use()) == ["HELLO"]


def test_a_receiver_that_is_cancelled_loses_no_answer(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            receiving = asyncio.ensure_future(clientlet.recv_message().__anext__())
            await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.sleep(0)
            await clientlet.send_message(HELLO)
            async for response in clientlet.recv_message():
                return texts_of(response)

    assert run(use()) == ["HELLO"]


def test_close_ends_a_receiver(run, gateway):
    async def use():
        clientlet = WebsocketClientlet(gateway.websocket_url, None)
        await clientlet.start()

        async def all_of_them():
            return [response async for response in clientlet.recv_message()]

        receiving = asyncio.ensure_future(all_of_them())
        await asyncio.sleep(0)
        await clientlet.close()
        return await receiving

    assert run(use()) == []


def test_the_next_attempt_opens_a_new_connection(run, logger):
    async def use(gateway):
        waits = (0.01, 0.01, 1.0)
        async with WebsocketClientlet(gateway.websocket_url, logger, 3, *waits) as clientlet:
            await clientlet.send_message(HELLO)
            first = [texts_of(response) async for response in clientlet.recv_message()]
            assert clientlet.close_code == 1006
            await clientlet.send_message(HELLO)
            async for response in clientlet.recv_message():
                return first, texts_of(response)

    with Gateway(faults=["drop@1"]) as gateway:
        assert run(use(gateway)) == ([], ["HELLO"])
    assert logger.told == []


def test_sending_on_a_dead_connection_is_logged_and_a_connection_reset_error(run, logger):
    async def use(gateway):
        async with WebsocketClientlet(gateway.websocket_url, logger) as clientlet:
            await clientlet.send_message(HELLO)
            async for _ in clientlet.recv_message():
                pass
            with pytest.raises(ConnectionResetError) as raised:
                await clientlet.send_message(HELLO)
            return raised.value

    with Gateway(faults=["drop@1"]) as gateway:
        error = run(use(gateway))
    assert isinstance(error, clientlet.Error) and len(logger.told) == 1


def test_a_failure_of_the_executor_is_an_answer(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            await clientlet.send_message({"data": [{"text": "a"}], "exec_endpoint": "/fail"})
            async for response in clientlet.recv_message():
                return read(response).header.status.code

    assert run(use()) == 1


def test_a_port_where_nothing_listens_is_a_connection_error_of_start(run):
    async def use():
        async with WebsocketClientlet("ws://127.0.0.1:1", None):
            pass

    with pytest.raises(ConnectionError, match="nothing listens"):
        run(use())


def test_the_websocket_attribute_receives_sends_and_closes(run, gateway):
    from clientlet._messages import DataRequest

    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            websocket = clientlet.websocket
            assert clientlet.response_iter.websocket is websocket and not websocket.closed
            assert clientlet.session is websocket
            await websocket.send_bytes(DataRequest(HELLO).SerializeToString())
            message = await websocket.receive()
            assert (message.type, message.extra) == (2, None)
            assert await websocket.close() and not await websocket.close()
            ending = await websocket.receive()
            assert websocket.closed and ending.type == 8
            return DataRequest(message.data).docs[0]["text"]

    assert run(use()) == "HELLO"


# WsResponseIter


def test_ws_response_iter_ends_with_the_close_and_keeps_it(run, gateway):
    from clientlet._messages import DataRequest

    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            responses = WsResponseIter(clientlet.websocket)
            assert responses.close_message is None and responses.__aiter__() is responses
            await clientlet.send_message(HELLO)
            await clientlet.send_eoi()
            found = [DataRequest(message.data).docs[0]["text"] async for message in responses]
            return found, responses.close_message.data, responses.close_message.extra

    assert run(use()) == (["HELLO"], 1000, "")


@pytest.mark.parametrize("last", [8, 256, 257])
def test_ws_response_iter_works_over_any_websocket(run, last):
    class Message:
        def __init__(self, type):
            self.type = type

    class Other:
        def __init__(self):
            self.messages = [Message(2), Message(last), Message(2)]

        async def receive(self):
            return self.messages.pop(0)

    async def use():
        responses = WsResponseIter(Other())
        return [message.type async for message in responses], responses.close_message.type

    assert run(use()) == ([2], last)


# Messages of the package's own


def test_the_packages_own_messages_have_the_shape_of_jinas():
    from clientlet._messages import DataRequest, StatusMessage

    request = DataRequest({"data": [{"text": "a"}], "header": {"exec_endpoint": "/x", "request_id": "r"}})
    assert request.to_dict()["header"]["request_id"] == "r"
    same = DataRequest(request.SerializeToString())
    assert (same.header.request_id, same.status.code, same.routes) == ("r", 0, [])
    assert [document["text"] for document in same.docs] == ["a"] == [d["text"] for d in same.data.docs]
    assert same.parameters == {} and same.to_dict()["header"] == {"request_id": "r"}
    assert StatusMessage(b"").code == 0 and StatusMessage(b"\x08\x01\x12\x02no").description == "no"
    with pytest.raises(ValueError, match='docarray is "v1" or "v2"'):
        DataRequest({}, docarray="v3")
    with pytest.raises(clientlet.DecodeError):
        DataRequest(b"\xff").docs


# Event loops


def test_a_websocket_belongs_to_its_event_loop(gateway):
    clientlet_ = WebsocketClientlet(gateway.websocket_url, None)
    loop, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        loop.run_until_complete(clientlet_.start())
        with pytest.raises(RuntimeError, match="opened in another event loop; start another one here"):
            other.run_until_complete(clientlet_.send_message(HELLO))
        loop.run_until_complete(clientlet_.close())
    finally:
        loop.close()
        other.close()


def test_a_session_over_http_works_in_one_event_loop_after_another(post):
    clientlet_ = HTTPClientlet(post, None)

    async def use(number):
        if number == 0:
            await clientlet_.start()
        answers = await asyncio.gather(*(clientlet_.send_message(HELLO) for _ in range(8)))
        return [answer.status for answer in answers]

    for number in range(5):
        assert asyncio.run(use(number)) == [200] * 8
    asyncio.run(clientlet_.close())


def test_connections_end_with_their_event_loop(gateway):
    import gc

    async def use():
        clientlet_ = WebsocketClientlet(gateway.websocket_url, None)
        await clientlet_.start()
        await clientlet_.send_message(HELLO)
        return clientlet_

    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    for _ in range(20):
        asyncio.run(use())
    gc.collect()
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) < before + 20


def test_large_messages_go_both_ways(run, gateway):
    text = "x" * (6 << 20)

    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            for _ in range(3):
                await clientlet.send_message({"data": [{"text": text}], "exec_endpoint": "/"})
            await clientlet.send_eoi()
            found = [len(texts_of(response)[0]) async for response in clientlet.recv_message()]
        async with HTTPClientlet(f"{gateway.url}/post", None) as http:
            answer = await http.send_message({"data": [{"text": text}], "exec_endpoint": "/"})
            return found, len(texts(await answer.json())[0])

    assert run(use()) == ([len(text)] * 3, len(text))


def test_tasks_that_send_and_receive_at_the_same_time_lose_nothing(run, gateway):
    async def use():
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:

            async def send(number):
                await clientlet.send_message({"data": [{"text": f"t{number}"}], "exec_endpoint": "/upper"})

            async def receive():
                return [texts_of(response)[0] async for response in clientlet.recv_message()]

            receiving = asyncio.ensure_future(receive())
            await asyncio.gather(*map(send, range(500)))
            await clientlet.send_eoi()
            return await receiving

    assert sorted(run(use())) == sorted(f"T{number}" for number in range(500))


def test_websockets_and_sessions_share_an_event_loop(run, gateway, post):
    async def one(number):
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            for message in range(20):
                await clientlet.send_message({"data": [{"text": f"w{number}-{message}"}], "exec_endpoint": "/upper"})
            await clientlet.send_eoi()
            return sorted([texts_of(response)[0] async for response in clientlet.recv_message()])

    async def other(http):
        return (await http.send_message(HELLO)).status

    async def use():
        async with HTTPClientlet(post, None) as http:
            return await asyncio.gather(*(one(number) for number in range(5)), *(other(http) for _ in range(20)))

    answers = run(use())
    assert answers[:5] == [sorted(f"W{number}-{message}" for message in range(20)) for number in range(5)]
    assert answers[5:] == [200] * 20


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts its rounds."""

    rounds = 0

    def _run_once(self):
        self.rounds += 1
        super()._run_once()


def test_answers_that_are_not_taken_do_not_keep_the_event_loop_busy():
    # More than are kept, so that the connection is not read any more although bytes wait there.
    count = 1500

    async def use(gateway):
        event_loop = asyncio.get_running_loop()
        async with WebsocketClientlet(gateway.websocket_url, None) as clientlet:
            for _ in range(count):
                await clientlet.send_message(HELLO)
            while len(gateway.journal) < count:
                await asyncio.sleep(0.01)
            before = event_loop.rounds
            await asyncio.sleep(0.3)
            rounds = event_loop.rounds - before
            await clientlet.send_eoi()
            return rounds, [None async for _ in clientlet.recv_message()]

    event_loop = CountingLoop()
    try:
        with Gateway() as gateway:
            rounds, answers = event_loop.run_until_complete(use(gateway))
    finally:
        event_loop.close()
    assert len(answers) == count
    # The last answers may still come.
    assert rounds < 500
