"""Nothing grows: neither objects nor file descriptors nor memory."""

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
import time

import pytest

import clientlet
from clientlet import AsyncClient, Client
from clientlet.testing import Gateway

from conftest import echo, url_of

# Each client sends 100,000 requests in all, a third over each protocol.
ROUNDS = 3
REQUESTS = 100_000 // 3 // ROUNDS + 1
# Most of them are those of one large call; the others are small calls, some of which fail or are given up.
SMALL = 300
LARGE = REQUESTS - 2 * SMALL

# Fewer connections than calls at a time, so that their number is the same after each round.
CONNECTIONS = 8


def objects():
    gc.collect()
    return len(gc.get_objects())


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def resident():
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def check_growth(work):
    work()
    before = objects(), descriptors(), resident()
    for _ in range(ROUNDS):
        work()
    after = objects(), descriptors(), resident()
    assert after[0] - before[0] < 100, "objects"
    # The gateway is in this process as well, so each connection has two. It closes a connection that its client has
    # left only when its executor has ended.
    by = time.monotonic() + 30
    while descriptors() - before[1] > 2 * CONNECTIONS:
        assert time.monotonic() < by, f"file descriptors: {before[1]}, then {descriptors()}"
        time.sleep(0.05)
    assert after[2] - before[2] < 8 << 20, "memory"


@pytest.fixture
def quiet():
    # A journal would keep what arrives.
    with Gateway(journal=False) as gateway:
        yield gateway


class Stop(Exception):
    pass


def _raise(_):
    raise Stop


def test_100_000_requests_leave_nothing(quiet, protocol):
    client = Client(url_of(quiet, protocol), max_connections=CONNECTIONS)
    documents = [{"id": str(n), "text": "a"} for n in range(LARGE)]

    def broken():
        yield {"id": "1"}
        raise Stop

    def work():
        sent = client.statistics().requests.count
        client.post("/", documents, request_size=1)
        for _ in range(SMALL):
            client.post("/", {"id": "1"})
        for _ in range(SMALL // 6):
            with pytest.raises(clientlet.ExecutorError):
                client.post("/fail", {"id": "1"}, keep_documents=True)
            with pytest.raises(clientlet.CallbackError):
                client.post("/", {"id": "1"}, on_done=_raise)
            with pytest.raises(clientlet.InputError):
                client.post("/", broken(), request_size=1)
            with pytest.raises(clientlet.EncodeError):
                client.post("/", {"id": object()})
            with pytest.raises(clientlet.TimeoutError):
                client.post("/slow", {"id": "1"}, timeout=0.001)
            stream = client.post("/", [{"id": "1"}] * 3, request_size=1, stream=True)
            next(stream)
            stream.stop()
        assert client.statistics().requests.count - sent >= REQUESTS

    check_growth(work)
    assert client.statistics().requests_in_flight == 0


def test_100_000_awaited_requests_leave_nothing(quiet, protocol):
    client = AsyncClient(url_of(quiet, protocol), max_connections=CONNECTIONS)

    async def documents():
        for n in range(LARGE):
            yield {"id": str(n)}

    async def broken():
        yield {"id": "1"}
        raise Stop

    async def work():
        sent = client.statistics().requests.count
        await client.post("/", documents(), request_size=1)
        await asyncio.gather(*(client.post("/", {"id": str(n)}) for n in range(2 * SMALL)))
        failing = [client.post("/fail", {"id": "1"}) for _ in range(50)]
        failing += [client.post("/", broken(), request_size=1) for _ in range(50)]
        failing += [client.post("/", {"id": "1"}, on_done=_raise) for _ in range(50)]
        failed = await asyncio.gather(*failing, return_exceptions=True)
        assert all(isinstance(error, clientlet.Error) for error in failed)
        # Given up before the answer, at different times.
        slow = [asyncio.ensure_future(client.post("/slow", {"id": "1"})) for _ in range(50)]
        for task in slow:
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.post("/slow", {"id": "1"}), 0.001)
        stream = client.post("/", documents(), request_size=1, stream=True)
        await stream.__anext__()
        stream.stop()
        assert client.statistics().requests.count - sent >= REQUESTS

    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        check_growth(lambda: runner.run(work()))
        assert client.statistics().requests_in_flight == 0


class _Runner:
    """`asyncio.Runner`, which Python 3.10 has not."""

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        return self

    def run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    def __exit__(self, *_):
        self._loop.close()


def test_a_generator_of_many_documents_takes_no_more_memory_than_one_of_few():
    numpy = pytest.importorskip("numpy")
    vector = numpy.zeros(256, dtype="f4")

    def work(count):
        documents = ({"id": str(n), "e": vector} for n in range(count))
        for response in client.post("/echo", documents, stream=True):
            assert len(response.docs) == 100

    with Gateway({"/echo": echo}, docarray="v2", journal=False) as gateway:
        client = Client(gateway.grpc_url)
        work(5_000)
        before = resident()
        work(20_000)
        assert resident() - before < 32 << 20


@pytest.fixture
def gateway_apart():
    """The URLs of a gateway in another process, whose memory is not this one's."""
    code = """
import sys
from clientlet.testing import Gateway
with Gateway({"/echo": lambda request: None}, docarray="v2", journal=False) as gateway:
    print(*gateway.urls, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process.stdout.readline().split()
        process.stdin.close()


@pytest.mark.parametrize("number", [1, 2], ids=["websocket", "grpc"])
def test_a_view_keeps_the_answer_and_a_small_array_does_not(gateway_apart, number):
    pytest.importorskip("numpy")
    # In a process of its own: where memory was freed before, an answer does not need more.
    code = """
import gc, resource, sys, numpy
from clientlet import Client

def resident():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

size = 48 << 20
sent = numpy.ones(size // 4, dtype="f4")
client = Client(sys.argv[1])
client.post("/echo", {"id": "1"})
before = resident()
is_held = lambda: resident() - before > size // 2

documents = client.post("/echo", {"id": "1", "e": sent})
assert is_held(), "the answer is there"
view = documents[0]["e"][5:7]
del documents
assert is_held() and view.tolist() == [1, 1], "a view keeps it"
del view
documents = client.post("/echo", {"id": "1", "e": sent, "small": sent[:10]})
small = documents[0]["small"]
# What it keeps is its own.
assert len(small.base) == small.nbytes == 40, "a small array is copied"
"""
    subprocess.run([sys.executable, "-c", code, gateway_apart[number]], check=True)


def _posts(client, sent, array):
    client.post("/echo", sent)


def _streams(client, sent, array):
    next(client.post("/echo", [sent] * 5, request_size=1, stream=True))


def _columns(client, sent, array):
    client.post("/echo", columns={"id": ["1"], "e": array.reshape(1, -1)})


def _fails(client, sent, array):
    with pytest.raises(clientlet.ExecutorError) as raised:
        client.post("/fail", sent, keep_documents=True)
    assert raised.value.documents[0]["id"] == "1"


def _refuses(client, sent, array):
    with pytest.raises(clientlet.EncodeError):
        client.post("/echo", [sent, {"e": array, "wrong": object()}])


def _times_out(client, sent, array):
    with pytest.raises(clientlet.TimeoutError):
        client.post("/slow", sent, timeout=0.01)


def _raises_in_the_input(client, sent, array):
    def documents():
        yield sent
        raise Stop

    with pytest.raises(clientlet.InputError):
        client.post("/echo", documents())


def _raises_in_a_callback(client, sent, array):
    with pytest.raises(clientlet.CallbackError):
        client.post("/echo", [sent] * 5, request_size=1, on_done=_raise)


def _is_cancelled(client, sent, array):
    async def main():
        url = client.gateway
        call = asyncio.ensure_future(AsyncClient(url).post("/slow", sent))
        await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(main())


def _reads_an_asynchronous_input(client, sent, array):
    async def documents():
        for _ in range(3):
            yield sent

    asyncio.run(_wait_for(AsyncClient(client.gateway).post("/echo", documents(), request_size=1)))


async def _wait_for(call):
    return await call


def _sends_parts(client, sent, array):
    for part in (array[::2], array.reshape(10, -1).T, array.astype(">f4"), memoryview(array)):
        client.post("/echo", {"id": "1", "e": part})


USES = (
    _posts, _streams, _columns, _fails, _refuses, _times_out, _raises_in_the_input, _raises_in_a_callback,
    _is_cancelled, _reads_an_asynchronous_input, _sends_parts,
)  # fmt: skip


def _fail(request):
    raise Stop


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__.strip("_"))
def test_references_of_what_was_sent_are_given_back(use, protocol):
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(1000, dtype="f4")
    sent = {"id": "1", "e": array}
    # Nothing to `/slow` is answered before the test has ended, however busy the machine is.
    ended = threading.Event()

    def slow(request):
        ended.wait(30)

    with Gateway({"/echo": echo, "/fail": _fail, "/slow": slow}, docarray="v2", journal=False) as gateway:
        client = Client(url_of(gateway, protocol))
        use(client, sent, array)
        gc.collect()
        before = sys.getrefcount(array), sys.getrefcount(sent)
        for _ in range(5):
            use(client, sent, array)
        gc.collect()
        assert (sys.getrefcount(array), sys.getrefcount(sent)) == before
        ended.set()
    # Memory that is still lent out cannot be moved.
    array.resize(2000, refcheck=False)
