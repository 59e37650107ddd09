"""Real Jina gateways: 3.14.1 with documents v1, 3.33.1 with v1 and v2, on each protocol, sync and async."""

import json
import os
import pathlib
import subprocess

import pytest

import clientlet
from clientlet import AsyncClient, Client

numpy = pytest.importorskip("numpy")

INTEROP = os.environ.get("CLIENTLET_INTEROP")
STARTER = pathlib.Path(__file__).parents[3] / "interop/gateway.py"
ENVIRONMENTS = {"seed-era": "v1", "current-v1": "v1", "current": "v2"}

pytestmark = pytest.mark.skipif(
    INTEROP is None, reason="real gateways are not installed, or another run of the tests has them"
)


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def real(request):
    """A real gateway, as its documents and its URLs by protocol."""
    python = pathlib.Path(INTEROP) / request.param / "bin/python"
    arguments = ["--protocol", "http,websocket,grpc", "--port", "0,0,0", "--die-with-parent"]
    process = subprocess.Popen(
        [python, STARTER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        told = json.loads(process.stdout.readline())
        assert told["ready"], told
        schemes = {"http": "http", "websocket": "ws", "grpc": "grpc"}
        ports = told["ports"]
        urls = {name: f"{scheme}://127.0.0.1:{ports[name]}" for name, scheme in schemes.items()}
        yield ENVIRONMENTS[request.param], urls
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


@pytest.fixture(params=["waits", "asyncio", "uvloop"])
def post(request, real, protocol):
    """Posts, by one of the clients, and returns the result."""
    if request.param == "waits":
        return Client(real[1][protocol]).post
    if request.param == "uvloop":
        new_loop = pytest.importorskip("uvloop").new_event_loop
    else:
        import asyncio

        new_loop = asyncio.new_event_loop

    def post(*arguments, **options):
        loop = new_loop()
        try:
            return loop.run_until_complete(AsyncClient(real[1][protocol]).post(*arguments, **options))
        finally:
            loop.close()

    return post


def test_documents_come_back_in_order(post):
    documents = [{"id": str(n), "text": "hello"} for n in range(250)]
    back = post("/upper", documents, request_size=30)
    assert [document["id"] for document in back] == [str(n) for n in range(250)]
    assert {document["text"] for document in back} == {"HELLO"}


def test_arrays_come_back(real, post):
    name = "embedding" if real[0] == "v1" else "tensor"
    vectors = numpy.random.default_rng(0).random((10, 64), dtype="f4")
    back = post("/", [{"id": str(n), name: vector} for n, vector in enumerate(vectors)])
    assert numpy.allclose(numpy.stack([document[name] for document in back]), vectors)
    columns = post("/", columns={"id": [str(n) for n in range(10)], name: vectors})
    assert numpy.allclose(columns[name], vectors)


def test_an_executors_exception_is_raised(real, post):
    with pytest.raises(clientlet.ExecutorError) as raised:
        post("/fail", {"id": "1"}, parameters={"message": "no such shelf", "kind": "key"})
    assert "no such shelf" in str(raised.value) and raised.value.may_have_run


def test_parameters_and_results_arrive(real, protocol):
    client = Client(real[1][protocol])
    response = next(client.post("/params", {"id": "1"}, parameters={"shelf": 7}, stream=True))
    assert "shelf" in json.dumps(response.parameters)


def test_questions_are_answered(real, protocol):
    client = Client(real[1][protocol])
    assert client.ready() and client.status().docarray == real[0]
    assert client.endpoints().docarray == real[0]


def test_a_generator_of_an_executor_is_a_stream(real):
    docarray, urls = real
    if docarray == "v1":
        with pytest.raises(clientlet.Error):
            list(Client(urls["grpc"]).stream_doc("/stream", {"text": "a"}))
        return
    for protocol in ("http", "grpc"):
        assert len(list(Client(urls[protocol]).stream_doc("/stream", {"text": "a"}))) == 3
