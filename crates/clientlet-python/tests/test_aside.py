"""Large documents over HTTP are encoded by another thread, with the same result, while other code of Python runs."""

import asyncio
import json
import threading
import time

import pytest

import clientlet
from clientlet import AsyncClient, Client
from clientlet.testing import Gateway

from conftest import echo

numpy = pytest.importorskip("numpy")
pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from test_properties import repeatable, scalars, texts, values_of  # noqa: E402

# As many numbers as make a request large, and far more than that.
MANY, HUGE = 10_000, 100_000


def forget(request):
    """Answers with next to nothing."""
    return [{"text": "read", "id": "1"}]


@pytest.fixture(scope="module", params=["v1", "v2"])
def gateway(request):
    with Gateway({"/echo": echo, "/forget": forget}, docarray=request.param) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def v2():
    with Gateway({"/forget": forget}, docarray="v2", journal=False) as gateway:
        yield gateway


@pytest.fixture
def other_thread():
    """Another thread, without which a client that waits encodes by itself."""
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    yield
    ended.set()
    thread.join()


def posted(gateway, documents, **options):
    """What a client sends with its first request, before it knows the gateway, and with the second one: without what
    differs in each request."""
    bodies = []

    def keep(attempt):
        if attempt.method == "POST":
            bodies.append({**json.loads(attempt.body), "header": None, "request_id": None})

    async def main():
        client = AsyncClient(gateway.http_url, before_attempt=keep)
        for _ in range(2):
            await client.post("/forget", documents, **options)

    asyncio.run(main())
    first, second = bodies
    return first, second


# What is sent as a list of numbers, and as an array.
bulks = st.sampled_from([[0.5] * MANY, numpy.linspace(-1, 1, MANY), numpy.arange(MANY).reshape(2, 50, -1)])
blobs = st.binary(max_size=20).map(lambda blob: blob.hex().encode())


@settings(repeatable, max_examples=20)
@given(
    st.lists(
        st.dictionaries(texts, values_of(scalars) | blobs, max_size=4).map(lambda document: {**document, "x": "y"}),
        min_size=1, max_size=4,
    ),
    bulks,
)  # fmt: skip
def test_arbitrary_documents_are_sent_as_the_calling_thread_sends_them(v2, documents, bulk):
    documents = [{**document, "bulk": bulk} for document in documents]
    first, second = posted(v2, documents)
    assert second == first
    assert [document["x"] for document in first["data"]] == ["y"] * len(documents)


def test_documents_of_each_kind_are_sent_as_the_calling_thread_sends_them(gateway):
    array = numpy.linspace(0, 1, MANY, dtype=numpy.float32)
    for documents in (
        [{"id": "a", "tensor": array}, {"id": "b", "tensor": array.tolist()}],
        [{"id": "a", "embedding": array.astype(dtype).reshape(-1, 10)} for dtype in ("f8", "f2", "i8", "?")],
        [{"id": "a", "tags": {"list": array.tolist(), "nested": {"none": None, "true": True, "n": 2**30}}}],
        [{"id": "a", "text": 'é"\\\n' * MANY * 8}],
        [{"tensor": array}],
    ):
        first, second = posted(gateway, documents)
        assert second == first
        assert len(first["data"]) == len(documents)


def test_columns_are_sent_as_the_calling_thread_sends_them(gateway):
    rows = numpy.random.default_rng(1).standard_normal((100, 64)).astype(numpy.float32)
    columns = {"id": [str(n) for n in range(100)], "embedding": rows, "text": ["é"] * 100}
    first, second = posted(gateway, None, columns=columns)
    assert second == first
    assert [document["id"] for document in first["data"]] == columns["id"]


async def cpu_of_loop(url, numbers):
    """The time for which the loop's thread computes, to send so many numbers a second time."""
    client = AsyncClient(url)
    document = {"id": "a", "embedding": numbers}
    await client.post("/forget", [document])
    began = time.thread_time()
    await client.post("/forget", [document])
    return time.thread_time() - began


def test_the_event_loop_does_not_encode(gateway):
    numbers = numpy.random.default_rng(1).standard_normal(HUGE)
    began = time.thread_time()
    clientlet._core.encode([{"id": "a", "embedding": numbers}], "v2", True)
    encoding = time.thread_time() - began
    cpu = min(asyncio.run(cpu_of_loop(gateway.http_url, numbers)) for _ in range(3))
    assert cpu < encoding / 2


def test_a_thread_that_waits_does_not_encode_beside_another_thread(gateway, other_thread):
    client = Client(gateway.http_url)
    document = {"id": "a", "embedding": numpy.random.default_rng(1).standard_normal(HUGE)}
    began = time.thread_time()
    client.post("/forget", [document])
    own = time.thread_time() - began
    times = []
    for _ in range(3):
        began = time.thread_time()
        client.post("/forget", [document])
        times.append(time.thread_time() - began)
    assert min(times) < own / 2


@pytest.mark.parametrize("request_size", [1, 3, 7, 0])
def test_requests_have_the_documents_that_they_have_otherwise(gateway, request_size):
    array = numpy.ones(MANY)
    documents = [{"id": str(n), "embedding": array} for n in range(10)]

    async def main():
        client = AsyncClient(gateway.http_url)
        ranges = []
        for _ in range(2):
            stream = client.post("/forget", iter(documents), request_size=request_size, stream=True)
            ranges.append([response.input async for response in stream])
        return ranges

    first, second = asyncio.run(main())
    assert second == first
    assert sum(map(len, second)) == 10


def test_a_document_that_cannot_be_sent_fails_alone_and_as_otherwise(gateway):
    array = numpy.ones(MANY)
    documents = [{"id": str(n), "embedding": array} for n in range(5)]
    documents[2] = {"id": "2", "embedding": array * numpy.nan}
    documents[3] = {"id": "3", "embedding": array, "text": object()}

    async def main():
        client = AsyncClient(gateway.http_url)
        ends = []
        for _ in range(2):
            stream = client.post("/forget", documents, continue_on_error=True, stream=True, in_order=True)
            ends.append([str(end) if isinstance(end, Exception) else end.input async for end in stream])
        return ends

    first, second = asyncio.run(main())
    assert second == first
    assert [end for end in first if not isinstance(end, str)] == [range(0, 2), range(4, 5)]
    assert "NaN" in first[1] and "object" in first[2]


def test_an_input_that_raises_sends_what_was_read_before(gateway):
    def documents():
        for n in range(3):
            yield {"id": str(n), "embedding": numpy.ones(MANY)}
        raise LookupError("the table is gone")

    async def main():
        client = AsyncClient(gateway.http_url)
        await client.post("/forget", {"text": "a", "id": "a"})
        ranges = []
        stream = client.post("/forget", documents(), stream=True, in_order=True)
        with pytest.raises(clientlet.InputError, match="the table is gone"):
            async for response in stream:
                ranges.append(response.input)
        return ranges

    assert asyncio.run(main()) == [range(0, 3)]


def test_documents_that_trickle_are_not_waited_for(gateway):
    go_on = asyncio.Event()

    async def documents():
        yield {"id": "1", "embedding": numpy.ones(MANY)}
        await go_on.wait()
        yield {"id": "2", "embedding": numpy.ones(MANY)}

    async def main():
        client = AsyncClient(gateway.http_url)
        await client.post("/forget", {"text": "a", "id": "a"})
        ranges = []
        async for response in client.post("/forget", documents(), stream=True):
            ranges.append(response.input)
            go_on.set()
        return ranges

    assert asyncio.run(main()) == [range(0, 1), range(1, 2)]


def test_a_call_that_is_cancelled_while_its_documents_are_encoded_leaves_the_client_usable(gateway):
    document = {"id": "a", "embedding": numpy.random.default_rng(1).standard_normal(HUGE)}

    async def main():
        client = AsyncClient(gateway.http_url)
        await client.post("/forget", {"text": "a", "id": "a"})
        since = len(gateway.journal)
        task = asyncio.ensure_future(client.post("/forget", document))
        # The task begins, and waits for the thread that encodes.
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(gateway.journal) == since
        return await client.post("/forget", {"text": "a", "id": "a"})

    assert asyncio.run(main())[0]["text"] == "read"


def test_many_calls_at_a_time_are_encoded_by_few_threads(gateway):
    document = {"id": "a", "embedding": numpy.ones(MANY * 4)}

    async def main():
        client = AsyncClient(gateway.http_url)
        await client.post("/forget", document)
        answers = await asyncio.gather(*(client.post("/forget", document) for _ in range(64)))
        with open("/proc/self/status") as status:
            threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
        return answers, threads

    before = threading.active_count()
    answers, threads = asyncio.run(main())
    assert [answer[0]["text"] for answer in answers] == ["read"] * 64
    assert threads < before + 32
