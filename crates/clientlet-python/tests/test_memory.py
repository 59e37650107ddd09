"""Nothing grows: neither objects nor file descriptors nor memory."""

import asyncio
import gc
import os
import resource

import pytest

from clientlet import AsyncClient, Client
from clientlet.testing import Gateway

from conftest import echo, url_of

REQUESTS = 3000


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
    for _ in range(3):
        work()
    after = objects(), descriptors(), resident()
    assert after[0] - before[0] < 100, "objects"
    # Calls at a time have connections of their own, so the number changes a little; there are 300 calls.
    assert after[1] - before[1] < 100, "file descriptors"
    assert after[2] - before[2] < 8 << 20, "memory"


@pytest.fixture
def quiet():
    # A journal would keep what arrives.
    with Gateway(journal=False) as gateway:
        yield gateway


def test_calls_leave_nothing(quiet, protocol):
    client = Client(url_of(quiet, protocol))
    documents = [{"id": str(n), "text": "a"} for n in range(REQUESTS)]

    def work():
        client.post("/", documents, request_size=1)
        for _ in range(100):
            client.post("/", {"id": "1"})

    check_growth(work)


def test_awaits_leave_nothing(quiet, protocol):
    client = AsyncClient(url_of(quiet, protocol))

    async def work():
        async def documents():
            for n in range(REQUESTS):
                yield {"id": str(n)}

        await client.post("/", documents(), request_size=1)
        await asyncio.gather(*(client.post("/", {"id": str(n)}) for n in range(200)))
        # Given up before the answer.
        slow = [asyncio.ensure_future(client.post("/slow", {"id": "1"})) for _ in range(50)]
        await asyncio.sleep(0)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        check_growth(lambda: runner.run(work()))


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
