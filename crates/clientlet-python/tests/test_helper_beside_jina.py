"""`clientlet.helper` beside the module that it stands in for: the same calls on both, against a gateway of the same
Jina, and Jina's own client with these clientlets in place of its own."""

from __future__ import annotations

import asyncio
import inspect
import json
import pathlib
import subprocess
import sys
from typing import Any, Dict, List, Optional

import pytest

original = pytest.importorskip("jina.clients.base.helper")

import aiohttp  # noqa: E402
import docarray  # noqa: E402
import jina  # noqa: E402
from jina import Client  # noqa: E402
from jina.clients.base import http as jina_http  # noqa: E402
from jina.clients.base import websocket as jina_websocket  # noqa: E402
from jina.logging.logger import JinaLogger  # noqa: E402
from jina.types.request.data import DataRequest  # noqa: E402

import clientlet as package  # noqa: E402
from clientlet import helper, helper_3_33  # noqa: E402

IS_3_14 = jina.__version__.startswith("3.14.")
IS_V2 = not docarray.__version__.startswith("0.2")
OURS = helper if IS_3_14 else helper_3_33

if IS_V2:
    from docarray import BaseDoc as Document
    from docarray import DocList
    from docarray.typing import NdArray

    class Text(Document):
        text: str = ""

    class Rich(Document):
        text: str
        nothing: Optional[str] = None
        number: int = 7
        weight: float = 0.1
        flag: bool = True
        tensor: NdArray
        matrix: NdArray
        tags: Dict[str, Any] = {}
        words: List[str] = []
        inner: Text
        many: DocList[Text]

    def documents(*texts):
        return DocList[Text]([Text(id=f"id-{text}", text=text) for text in texts])

else:
    from docarray import Document, DocumentArray

    def documents(*texts):
        return DocumentArray([Document(id=f"id-{text}", text=text) for text in texts])


@pytest.fixture(scope="module")
def urls(ports):
    """The addresses of a gateway of this Jina."""
    return f"http://127.0.0.1:{ports['http']}", f"ws://127.0.0.1:{ports['websocket']}"


@pytest.fixture(scope="module")
def ports():
    """The ports of a gateway of this Jina."""
    starter = pathlib.Path(__file__).parents[3] / "interop/gateway.py"
    command = [sys.executable, starter, "--protocol", "http,websocket,grpc", "--port", "0,0,0", "--die-with-parent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        told = json.loads(process.stdout.readline())
        assert told["ready"], told
        yield told["ports"]
    finally:
        process.terminate()
        process.wait(timeout=60)
        process.stdout.close()


@pytest.fixture(scope="module")
def logger():
    return JinaLogger("test")


def request_of(endpoint, *texts, parameters=None):
    request = DataRequest()
    request.header.exec_endpoint = endpoint
    if parameters:
        request.parameters = parameters
    request.data.docs = documents(*texts)
    if IS_V2:
        request.document_array_cls = DocList[Text]
    return request


def http(module, url, logger, **settings):
    """A clientlet for HTTP, in whichever form, and how a request is sent by it."""
    if IS_3_14:
        clientlet = module.HTTPClientlet(url=url, logger=logger, **settings)

        async def send(request):
            answer = await clientlet.send_message(request=request)
            return answer.status, await answer.json()

        return clientlet, send, clientlet.send_dry_run
    clientlet = module.HTTPClientlet(logger=logger, **settings)
    return (
        clientlet,
        lambda request: clientlet.send_message(url=url, request=request),
        lambda **kwargs: clientlet.send_dry_run(url=url, **kwargs),
    )


async def answer_of(module, url, logger, request, **settings):
    clientlet, send, _ = http(module, url, logger, **settings)
    async with clientlet:
        return await send(request)


def same(answer):
    """An answer without what differs from request to request: ids of a v1 gateway, and times."""
    status, body = answer
    body = json.loads(json.dumps(body))
    if not IS_V2:
        body.get("header", {}).pop("requestId", None)
    for route in body.get("routes") or ():
        route.pop("startTime"), route.pop("endTime")
    return status, body


def path_of(endpoint):
    return endpoint if IS_V2 else "/post"


def both(run, use):
    """The outcome of the same calls on the original and on ours: a result, or the exception."""
    outcomes = []
    for module in (original, OURS):
        try:
            outcomes.append(run(use(module)))
        except Exception as error:
            outcomes.append(error)
    return outcomes


REQUESTS = {
    "one": lambda: request_of("/upper", "hello"),
    "many": lambda: request_of("/upper", *map(str, range(100))),
    "unicode": lambda: request_of("/upper", "é\n\"\\ 漢字 \U0001f600"),
    "parameters": lambda: request_of("/params", "a", parameters={"a": 1, "b": [1.5, None], "c": {"d": "e"}}),
    "none": lambda: request_of("/upper"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_http_answers_are_those_of_the_original(run, urls, logger, name):
    request = REQUESTS[name]()
    endpoint = request.header.exec_endpoint
    theirs, ours = both(run, lambda module: answer_of(module, urls[0] + path_of(endpoint), logger, request))
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs) and str(ours) == str(theirs)
    else:
        assert same(ours) == same(theirs) and ours[0] == 200


def test_http_failures_are_those_of_the_original(run, urls, logger):
    request = request_of("/fail", "a")
    theirs, ours = both(run, lambda module: answer_of(module, urls[0] + path_of("/fail"), logger, request))
    if IS_V2:
        assert type(theirs) is ValueError and isinstance(ours, ValueError) and ours.args == theirs.args
        assert isinstance(ours, package.ExecutorError) and ours.delivery == "answered"
    else:
        failed = [body["header"]["status"]["description"] for _, body in (theirs, ours)]
        assert failed[0] == failed[1] and "boom" in failed[0] or "fail" in failed[0].lower()


def test_a_404_is_that_of_the_original(run, urls, logger):
    request = request_of("/upper", "a")
    theirs, ours = both(run, lambda module: answer_of(module, f"{urls[0]}/nowhere", logger, request))
    if IS_3_14:
        assert ours == theirs and ours[0] == 404
    else:
        assert isinstance(ours, type(theirs)) and ours.args == theirs.args
        assert isinstance(ours, package.NotFoundError)


def test_a_closed_port_is_an_error_that_callers_of_the_original_catch(run, logger):
    request = request_of("/upper", "a")
    theirs, ours = both(run, lambda module: answer_of(module, "http://127.0.0.1:1/post", logger, request))
    expected = aiohttp.ClientConnectorError if IS_3_14 else ConnectionError
    assert isinstance(theirs, expected) and isinstance(ours, expected)


@pytest.mark.parametrize("protocol", ["http", "grpc", "nowhere", "closed", "unknown"])
def test_a_websocket_to_another_port_is_an_error_that_callers_of_the_original_catch(run, urls, ports, logger, protocol):
    authority = f"127.0.0.1:{ports[protocol]}" if protocol in ports else f"127.0.0.1:{ports['websocket']}/nowhere"
    authority = {"closed": "127.0.0.1:1", "unknown": "gateway.invalid:1"}.get(protocol, authority)

    async def use(module):
        async with module.WebsocketClientlet(f"ws://{authority}", logger=logger):
            pass

    theirs, ours = both(run, use)
    expected = type(theirs)
    if IS_3_14 and protocol == "grpc" and isinstance(theirs, aiohttp.ClientOSError):
        # The original may see the end of the connection before the answer.
        expected = aiohttp.ClientResponseError
    assert isinstance(theirs, Exception) and isinstance(ours, expected), (theirs, ours)
    assert isinstance(ours, package.Error) and isinstance(ours, ConnectionError)
    # A server that is no HTTP server has no status there.
    assert getattr(ours, "status", 0) == getattr(theirs, "status", getattr(ours, "status", 0))


def test_a_websocket_takes_the_address_of_the_gateway_as_the_original_does(run, ports, logger):
    async def use(module):
        async with module.WebsocketClientlet(f"http://127.0.0.1:{ports['websocket']}", logger=logger) as clientlet:
            await clientlet.send_message(request_of("/upper", "a"))
            async for response in clientlet.recv_message():
                return response.header.status.code, clientlet.url

    theirs, ours = both(run, use)
    assert ours == theirs and ours[0] == 0


@pytest.mark.skipif(not IS_V2, reason="a gateway of documents v1 loses none")
def test_more_than_100_documents_v2_are_refused_with_what_to_do(run, urls, logger):
    request = request_of("/upper", *map(str, range(101)))
    with pytest.raises(package.EncodeError, match="send at most 100 in a request"):
        run(answer_of(OURS, urls[0] + path_of("/upper"), logger, request))

    # Bytes that are ready are not counted, as the page says: the gateway loses one.
    body = json.dumps({"data": [{"text": "a"}] * 101, "parameters": {}})
    status, answer = run(answer_of(OURS, urls[0] + path_of("/upper"), logger, body))
    assert (status, len(answer["data"])) == (200, 100)


def test_the_dry_run_is_that_of_the_original(run, urls, logger):
    async def use(module):
        clientlet, _, dry_run = http(module, f"{urls[0]}/dry_run", logger)
        async with clientlet:
            answer = await dry_run(timeout=10)
            async with answer:
                return answer.status, answer.headers["Content-Type"], answer.content_type, await answer.json()

    theirs, ours = both(run, use)
    assert ours == theirs and ours[0] == 200


def test_headers_auth_and_cookies_arrive_as_those_of_the_original(run, logger):
    import aiohttp

    from clientlet.testing import Gateway

    settings = {"headers": {"X-A": "1"}, "auth": aiohttp.BasicAuth("u", "p"), "cookies": {"c": "d"}}
    with Gateway(docarray="v2" if IS_V2 else "v1") as gateway:
        url = gateway.url + ("/" if IS_V2 else "/post")
        both(run, lambda module: answer_of(module, url, logger, request_of("/", "a"), **settings))
        theirs, ours = (arrival.headers for arrival in gateway.journal)
    for name in ("x-a", "authorization", "cookie", "content-type"):
        assert ours[name] == theirs[name]


async def exchanged(module, url, logger, requests):
    """What comes back over WebSocket, and how the connection was closed."""
    async with module.WebsocketClientlet(url=url, logger=logger) as clientlet:
        for request in requests:
            await clientlet.send_message(request)
        await clientlet.send_eoi()
        found = {}
        async for response in clientlet.recv_message():
            assert type(response) is DataRequest
            if IS_V2:
                response.document_array_cls = DocList[Text]
            texts = [document.text for document in response.docs]
            header = response.header
            parameters = response.parameters
            found[header.request_id] = header.status.code, header.status.description, texts, parameters
        return found, clientlet.close_code, clientlet.close_message or ""


def test_websocket_answers_are_those_of_the_original(run, urls, logger):
    requests = [request_of("/upper", str(number), "é") for number in range(20)]
    requests += [request_of("/fail", "a"), request_of("/params", "a", parameters={"a": 1})]
    theirs, ours = both(run, lambda module: exchanged(module, urls[1], logger, requests))
    assert ours == theirs
    found, code, _ = ours
    assert len(found) == 22 and code == 1000


def test_the_dry_run_over_websocket_is_that_of_the_original(run, urls, logger):
    async def use(module):
        async with module.WebsocketClientlet(url=f"{urls[1]}/dry_run", logger=logger) as clientlet:
            await clientlet.send_dry_run()
            codes = [(type(status).__name__, status.proto.code) async for status in clientlet.recv_dry_run()]
            return codes, clientlet.close_code

    theirs, ours = both(run, use)
    assert ours == theirs == ([("StatusMessage", 0)], 1000)


def test_ws_response_iter_works_over_the_websocket_of_aiohttp(run, urls, logger):
    async def use(module):
        async with original.WebsocketClientlet(url=urls[1], logger=logger) as clientlet:
            await clientlet.send_message(request_of("/upper", "a"))
            await clientlet.send_eoi()
            responses = module.WsResponseIter(clientlet.websocket)
            kinds = [int(message.type) async for message in responses]
            return kinds, int(responses.close_message.type), responses.close_message.data

    theirs, ours = both(run, use)
    assert ours == theirs == ([2], 8, 1000)


@pytest.mark.skipif(not (IS_V2 and not IS_3_14), reason="the other environments have no streaming endpoints")
def test_streamed_documents_are_those_of_the_original(run, urls, logger):
    async def use(module):
        async with module.HTTPClientlet(logger=logger) as clientlet:
            stream = clientlet.send_streaming_message(url=f"{urls[0]}/stream", doc=Text(text="a"), on="/stream")
            return [json.loads(document) async for document in stream]

    def same_ids(found):
        return [{**document, "id": None} for document in found]

    theirs, ours = both(run, use)
    assert same_ids(ours) == same_ids(theirs) and len(ours) > 1


@pytest.mark.skipif(IS_3_14, reason="3.14.1 has no such function")
@pytest.mark.parametrize("status", [200, 201, 300, 301, 404, 418, 500, 503, 504])
@pytest.mark.parametrize("content", [{"header": {"status": {"description": "x"}}}, {"detail": "x"}, "x", {"header": {}}])
def test_handle_response_status_is_that_of_the_original(status, content):
    def outcome(module):
        try:
            return module.handle_response_status(status, content, "http://h")
        except Exception as error:
            return type(error), error.args

    assert outcome(OURS) == outcome(original)


# Signatures


@pytest.mark.parametrize("name", ["AioHttpClientlet", "HTTPClientlet", "WebsocketClientlet", "WsResponseIter"])
def test_names_and_parameters_are_those_of_the_original(name):
    theirs, ours = getattr(original, name), getattr(OURS, name)
    for method, function in inspect.getmembers(theirs, callable):
        if method.startswith("_") and method not in ("__init__", "__aenter__", "__aexit__", "__anext__", "__aiter__"):
            continue
        expected = inspect.signature(function).parameters
        if method == "__init__" and list(expected) in (["self", "args", "kwargs"], ["self", "url", "args", "kwargs"]):
            continue
        found = inspect.signature(getattr(ours, method)).parameters
        if name != "AioHttpClientlet" or method in ("__init__", "start", "close"):
            assert list(found) == list(expected), method
            for parameter in expected:
                assert found[parameter].default == expected[parameter].default, (method, parameter)
    for attribute in ("close_code", "close_message"):
        assert isinstance(getattr(ours, attribute, None), property) == isinstance(
            getattr(theirs, attribute, None), property
        )


@pytest.mark.parametrize("name", ["HTTPClientlet", "WebsocketClientlet"])
def test_attributes_are_those_of_the_original(name, logger):
    def attributes(module):
        made = getattr(module, name)("http://h", logger) if IS_3_14 or name[0] == "W" else getattr(module, name)(logger)
        return {key: value for key, value in vars(made).items() if not key.startswith("_")}

    assert attributes(OURS) == attributes(original)


# Jina's own client


@pytest.fixture
def replaced(monkeypatch):
    """Jina's client with our clientlets in place of its own."""
    sent = []

    class HTTPClientlet(OURS.HTTPClientlet):
        async def send_message(self, *args, **kwargs):
            sent.append("http")
            return await super().send_message(*args, **kwargs)

    class WebsocketClientlet(OURS.WebsocketClientlet):
        async def send_message(self, *args, **kwargs):
            sent.append("websocket")
            return await super().send_message(*args, **kwargs)

    monkeypatch.setattr(jina_http, "HTTPClientlet", HTTPClientlet)
    monkeypatch.setattr(jina_websocket, "WebsocketClientlet", WebsocketClientlet)
    return sent


def client_of(urls, protocol, **settings):
    url = urls[0] if protocol == "http" else urls[1]
    port = int(url.rsplit(":", 1)[1])
    return Client(host="127.0.0.1", port=port, protocol=protocol, **settings)


def posted(client, endpoint, *texts, **options):
    if IS_V2:
        options["return_type"] = DocList[Text]
    return [document.text for document in client.post(endpoint, documents(*texts), **options)]


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_jinas_client_posts_with_our_clientlets(urls, replaced, protocol):
    client = client_of(urls, protocol)
    texts = [str(number) for number in range(30)]
    options = {"request_size": 4, "results_in_order": True, "parameters": {"a": 1}}
    assert posted(client, "/upper", "hello", *texts, **options) == ["HELLO", *texts]
    assert replaced == [protocol] * 8
    assert client.is_flow_ready()


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_jinas_asynchronous_client_posts_with_our_clientlets(run, urls, replaced, protocol):
    client = client_of(urls, protocol, asyncio=True)

    async def use():
        options = {"return_type": DocList[Text]} if IS_V2 else {}
        found = []
        async for answer in client.post("/upper", documents("hello", "world"), request_size=1, **options):
            found += [document.text for document in answer]
        assert await client.is_flow_ready()
        return sorted(found)

    assert asyncio.run(use()) == ["HELLO", "WORLD"]
    assert replaced == [protocol] * 2


@pytest.mark.skipif(IS_3_14, reason="3.14.1 makes a session for each post")
def test_jinas_client_uses_one_session_of_ours_again(urls, replaced):
    client = client_of(urls, "http", reuse_session=True)
    for number in range(5):
        assert posted(client, "/upper", f"a{number}") == [f"A{number}"]
    assert replaced == ["http"] * 5


@pytest.mark.parametrize("protocol", ["http", "websocket"])
def test_jinas_client_reports_a_closed_port_with_our_clientlets(replaced, protocol):
    client = client_of(("http://h:1", "ws://h:1"), protocol)
    with pytest.raises((ConnectionError, OSError)):
        posted(client, "/upper", "a")
    assert not client.is_flow_ready()


# Requests of Jina's go from protobuf to JSON without DocArray


def rich_request():
    import numpy as np

    numbers = np.array([0.1, -2.5, 3e10], dtype="float32")
    request = DataRequest()
    request.header.exec_endpoint = "/"
    request.parameters = {"a": 1, "b": [1.5, None, "x"], "c": {"d": True}}
    if IS_V2:
        rich = Rich(
            id="r", text="é\n\"", tensor=numbers, matrix=np.arange(6).reshape(2, 3), tags={"a": {"b": [1, 2]}},
            words=["a", "b"], inner=Text(id="i", text="in"), many=documents("m", "n"),
        )  # fmt: skip
        request.data.docs = DocList[Rich]([rich, rich])
        request.document_array_cls = DocList[Rich]
    else:
        rich = Document(
            id="r", text="é\n\"", tags={"a": 1, "b": [1, 2.5, None, True], "c": {"d": "e"}}, weight=0.5,
            embedding=numbers.astype("float64"), tensor=np.arange(6).reshape(2, 3), uri="u", mime_type="text/plain",
            offset=1.5, location=[1, 2.5], modality="m", chunks=documents("c"), matches=documents("m", "n"),
        )  # fmt: skip
        rich.scores["s"].value = 0.25
        request.data.docs = DocumentArray([rich, Document(id="b", blob=b"\x00\xff"), Document(id="t", text="t")])
    return request


def body_of(run, module, logger, request):
    """The body that arrives, from a port that keeps what it is sent."""
    bodies = []

    async def keep(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        bodies.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def use():
        server = await asyncio.start_server(keep, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/post"
        async with server:
            await answer_of(module, url, logger, request)

    run(use())
    return bodies[0]


def told(document):
    """What a document says: fields that are null say nothing."""
    if isinstance(document, dict):
        kept = {key: told(value) for key, value in document.items() if value is not None}
        return {key: value for key, value in kept.items() if value not in ({}, []) and key not in ("granularity", "adjacency")}
    return [told(part) for part in document] if isinstance(document, list) else document


@pytest.mark.parametrize("make", [rich_request, *REQUESTS.values()], ids=["rich", *REQUESTS])
def test_a_request_says_the_same_as_the_original(run, logger, make):
    request = make()
    theirs, ours = (body_of(run, module, logger, request) for module in (original, OURS))
    assert [told(document) for document in ours["data"] or []] == [told(document) for document in theirs["data"] or []]
    assert (ours.get("parameters") or {}) == (theirs.get("parameters") or {})
    if IS_V2:
        id_of = lambda body: body["header"].get("requestId") or body["header"].get("request_id")  # noqa: E731
        assert id_of(ours) == id_of(theirs)
    else:
        endpoint = ours.get("execEndpoint") or ours.get("exec_endpoint")
        assert endpoint == theirs["exec_endpoint"]


def test_the_executors_that_are_to_work_are_those_of_the_original(run, logger):
    request = request_of("/upper", "a")
    request.header.target_executor = "executor.*"

    def target(body):
        header = body.get("header") or {}
        for of in (body, header):
            for name in ("targetExecutor", "target_executor"):
                if of.get(name):
                    return of[name]

    theirs, ours = (body_of(run, module, logger, request) for module in (original, OURS))
    assert target(ours) == target(theirs) == "executor.*"


def test_documents_that_have_no_protobuf_are_sent_by_docarray(run, logger):
    if IS_3_14:
        pytest.skip("3.14.1 has no such documents")
    request = request_of("/upper", "a")
    request.direct_docs = documents("direct")
    theirs, ours = (body_of(run, module, logger, request) for module in (original, OURS))
    assert ours == theirs and ours["data"][0]["text"] == "direct"
