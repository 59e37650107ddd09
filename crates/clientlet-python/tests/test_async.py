"""The client that is awaited."""

import asyncio
import gc
import os
import threading
import time

import pytest

import clientlet
from clientlet import AsyncClient
from clientlet.testing import Gateway

from conftest import url_of


def test_documents_come_back_in_order(url, run):
    documents = [{"id": str(n), "text": "hello"} for n in range(250)]
    upper = run(AsyncClient(url).post("/upper", documents, request_size=7))
    assert [document["id"] for document in upper] == [str(n) for n in range(250)]


def test_many_tasks_share_a_client(url, run):
    async def main():
        client = AsyncClient(url)
        calls = (client.post("/upper", {"text": f"a{n}"}) for n in range(100))
        return [documents[0]["text"] for documents in await asyncio.gather(*calls)]

    assert run(main()) == [f"A{n}" for n in range(100)]


def test_a_client_works_in_one_loop_after_another_and_in_several_threads(url, run):
    client = AsyncClient(url)
    for _ in range(3):
        assert run(client.post("/upper", {"text": "a"}))[0]["text"] == "A"
    texts = []

    def work():
        texts.append(asyncio.run(client.post("/upper", {"text": "b"}))[0]["text"])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["B"] * 4


def test_an_asynchronous_input_is_read_when_it_is_wanted(url, run):
    read = 0

    async def documents():
        nonlocal read
        for n in range(100):
            read += 1
            if n % 3 == 0:
                await asyncio.sleep(0)
            yield {"text": str(n)}

    async def main():
        stream = AsyncClient(url).post("/", documents(), request_size=5, prefetch=2, stream=True)
        first = await stream.__anext__()
        await asyncio.sleep(0.05)
        assert first.input == range(0, 5) and read <= 20
        return [document["text"] async for response in stream for document in response.docs]

    assert run(main()) == [str(n) for n in range(5, 100)] and read == 100


def test_with_prefetch_1_each_document_is_answered_before_the_next_is_read(gateway, protocol, run):
    async def main():
        async def documents():
            for n in range(5):
                assert len([a for a in gateway.journal if a.answered]) == n
                yield {"text": str(n)}

        client = AsyncClient(url_of(gateway, protocol))
        await client.ready()
        return await client.post("/", documents(), request_size=1, prefetch=1)

    assert len(run(main())) == 5


def test_an_exception_of_an_asynchronous_input_is_the_cause(url, run):
    closed = []

    async def documents():
        try:
            yield {"text": "a"}
            raise LookupError("the shelf is empty")
        finally:
            closed.append(True)

    async def main():
        stream = AsyncClient(url).post("/upper", documents(), stream=True)
        assert (await stream.__anext__()).docs[0]["text"] == "A"
        with pytest.raises(clientlet.InputError) as raised:
            await stream.__anext__()
        assert isinstance(raised.value.__cause__, LookupError)
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    run(main())
    assert closed == [True]


def test_cancelling_a_task_stops_its_call_and_its_input(gateway, protocol, run):
    closed = []

    async def documents():
        try:
            for n in range(1000):
                yield {"text": str(n)}
        finally:
            closed.append(True)

    async def main():
        client = AsyncClient(url_of(gateway, protocol))
        await client.post("/", {"text": "a"})
        call = client.post("/slow", documents(), parameters={"seconds": 60}, request_size=1, prefetch=2)
        task = asyncio.ensure_future(call)
        while len(gateway.journal) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not closed:
            await asyncio.sleep(0.01)
        assert len(gateway.journal) == 3
        # The client works on.
        assert (await client.post("/upper", {"text": "a"}))[0]["text"] == "A"

    run(main())


def test_wait_for_ends_a_call(url, run):
    async def main():
        client = AsyncClient(url)
        with pytest.raises(asyncio.TimeoutError):
            slow = client.post("/slow", {"text": "a"}, parameters={"seconds": 60})
            await asyncio.wait_for(slow, 0.1)
        return await client.post("/upper", {"text": "a"})

    assert run(main())[0]["text"] == "A"


def test_cancelling_a_read_loses_no_response(gateway, run):
    async def main():
        client = AsyncClient(gateway.grpc_url)
        documents = [{"id": str(n)} for n in range(3)]
        stream = client.post("/slow", documents, parameters={"seconds": 0.2}, request_size=1, stream=True)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.__anext__(), 0.01)
        return [response.input.start async for response in stream]

    assert run(main()) == [0, 1, 2]


def test_a_second_reader_of_a_stream_is_refused(gateway, run):
    async def main():
        client = AsyncClient(gateway.url)
        stream = client.post("/slow", {"text": "a"}, parameters={"seconds": 0.2}, stream=True)
        first = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await stream.__anext__()
        assert (await first).docs[0]["text"] == "a"

    run(main())


def test_a_call_runs_beside_other_tasks(gateway, run):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.005)

        ticking = asyncio.ensure_future(tick())
        await AsyncClient(gateway.url).post("/slow", {"text": "a"}, parameters={"seconds": 0.3})
        ticking.cancel()
        return ticks

    assert run(main()) > 10


def test_other_tasks_run_between_requests_whose_documents_take_long(gateway, run):
    rounds, seen = 0, []

    async def beat():
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    def documents():
        for n in range(20):
            time.sleep(0.002)
            seen.append(rounds)
            yield {"text": str(n)}

    async def main():
        beating = asyncio.create_task(beat())
        answered = await AsyncClient(gateway.url).post("/upper", documents(), request_size=1)
        beating.cancel()
        return answered

    assert len(run(main())) == 20
    # A call that had its answer goes on at once, so it is not before every request.
    assert len(set(seen)) > 10


def test_questions_are_answered(gateway, protocol, run):
    async def main():
        client = AsyncClient(url_of(gateway, protocol))
        assert await client.ready() and await client.is_flow_ready()
        assert (await client.status()).docarray == "v1"
        assert (await client.endpoints()).takes_any
        gateway.executor_down()
        with pytest.raises(clientlet.GatewayError):
            await client.ready()

    run(main())


def test_a_generator_of_an_executor_is_a_stream(run):
    with Gateway(docarray="v2") as gateway:

        async def main(url):
            return [word async for word in AsyncClient(url).stream_doc("/stream", {"text": "a"})]

        for url in (gateway.url, gateway.grpc_url):
            assert len(run(main(url))) == 3


def test_outside_a_loop_an_await_is_a_runtime_error(gateway):
    call = AsyncClient(gateway.url).post("/slow", {"text": "a"}, parameters={"seconds": 60})
    with pytest.raises(RuntimeError, match="no running event loop"):
        # A poll that was woken meanwhile asks for another one.
        while True:
            assert call.send(None) is None
    call.close()


def test_the_client_that_waits_works_inside_a_running_loop(url, run):
    async def main():
        return clientlet.Client(url).post("/upper", {"text": "a"})

    assert run(main())[0]["text"] == "A"


def test_loops_leave_no_file_descriptors(gateway):
    client = AsyncClient(gateway.url)

    def count():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    asyncio.run(client.post("/", {"text": "a"}))
    before = count()
    for _ in range(50):
        asyncio.run(client.post("/", {"text": "a"}))
    assert count() <= before + 2


def test_a_call_that_fails_leaves_those_gathered_beside_it(url, run):
    async def main():
        client = AsyncClient(url)
        calls = [client.post("/upper", {"text": f"a{n}"}) for n in range(10)]
        calls.insert(3, client.post("/fail", {"text": "a"}))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results.pop(3), clientlet.ExecutorError)
        assert [documents[0]["text"] for documents in results] == [f"A{n}" for n in range(10)]
        # Without `return_exceptions` the first failure is raised at once, and the others can still be awaited.
        slow = asyncio.ensure_future(client.post("/slow", {"text": "a"}, parameters={"seconds": 0.05}))
        with pytest.raises(clientlet.ExecutorError):
            await asyncio.gather(slow, client.post("/fail", {"text": "a"}))
        assert (await slow)[0]["text"] == "a"

    run(main())


def test_cancelling_a_gather_cancels_its_calls(gateway, protocol, run):
    async def main():
        client = AsyncClient(url_of(gateway, protocol))
        await client.ready()
        slow = [client.post("/slow", {"text": "a"}, parameters={"seconds": 60}) for _ in range(5)]
        gathered = asyncio.gather(*slow)
        while len(gateway.journal) < 5:
            await asyncio.sleep(0.005)
        assert client.statistics().requests_in_flight == 5
        gathered.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered
        # The tasks of a gather end in the next rounds of the loop.
        while client.statistics().requests_in_flight:
            await asyncio.sleep(0)

    run(main())


@pytest.mark.skipif(not hasattr(asyncio, "TaskGroup"), reason="Python 3.10 has no task groups")
def test_a_task_group_cancels_the_calls_beside_one_that_fails(gateway, run):
    async def main():
        client = AsyncClient(gateway.url)
        with pytest.raises(BaseException) as raised:
            async with asyncio.TaskGroup() as group:
                slow = group.create_task(client.post("/slow", {"text": "a"}, parameters={"seconds": 60}))
                group.create_task(client.post("/fail", {"text": "a"}))
        assert [type(error) for error in raised.value.exceptions] == [clientlet.ExecutorError]
        assert slow.cancelled() and client.statistics().requests_in_flight == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.post("/slow", {"text": "a"}, parameters={"seconds": 60})

    run(main())


def test_a_call_that_is_cancelled_at_any_moment_leaves_the_client_whole(url, run):
    async def main():
        client = AsyncClient(url)
        for rounds in range(30):
            task = asyncio.ensure_future(client.post("/upper", [{"text": "a"}] * 4, request_size=1))
            for _ in range(rounds):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(result, asyncio.CancelledError) or len(result) == 4
        assert (await client.post("/upper", {"text": "a"}))[0]["text"] == "A"
        assert client.statistics().requests_in_flight == 0

    run(main())


def test_an_input_that_cancels_itself_or_its_call_ends_the_call(gateway, run):
    async def main():
        client = AsyncClient(gateway.url)

        async def documents():
            yield {"text": "a"}
            call.cancel()
            await asyncio.sleep(60)

        call = asyncio.ensure_future(client.post("/", documents(), request_size=1))
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.post("/upper", {"text": "a"}))[0]["text"] == "A"

    run(main())


@pytest.mark.parametrize("end", ["stop", "drop"])
def test_a_stream_that_is_left_closes_its_input(gateway, run, end):
    closed = []

    async def documents():
        try:
            for n in range(1000):
                yield {"text": str(n)}
        finally:
            closed.append(True)

    async def main():
        stream = AsyncClient(gateway.url).post("/", documents(), request_size=1, prefetch=2, stream=True)
        async for _ in stream:
            break
        assert closed == []
        if end == "stop":
            stream.stop()
        else:
            del stream
            gc.collect()
        while not closed:
            await asyncio.sleep(0)

    run(main())
    assert closed == [True]


def test_a_loop_that_is_closed_with_calls_in_flight_disturbs_no_other(gateway, protocol, run):
    client = AsyncClient(url_of(gateway, protocol))
    left = asyncio.new_event_loop()

    async def begin():
        call = client.post("/slow", {"text": "a"}, parameters={"seconds": 0.1})
        task = asyncio.ensure_future(call)
        while not gateway.journal:
            await asyncio.sleep(0.005)
        return task

    task = left.run_until_complete(begin())
    left.close()
    # The answer arrives meanwhile, for a loop that is no more.
    assert run(client.post("/slow", {"text": "b"}, parameters={"seconds": 0.3}))[0]["text"] == "b"
    # asyncio says of it that it is pending; so it is.
    task._log_destroy_pending = False
    del task
    gc.collect()
    assert run(client.post("/upper", {"text": "a"}))[0]["text"] == "A"


def test_calls_work_in_a_loop_that_is_debugged(url):
    async def main():
        client = AsyncClient(url)

        async def documents():
            yield {"text": "a"}

        calls = [client.post("/upper", {"text": "a"}), client.post("/upper", documents())]
        return [documents[0]["text"] for documents in await asyncio.gather(*calls)]

    assert asyncio.run(main(), debug=True) == ["A", "A"]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="tasks are eager from Python 3.12 on")
def test_calls_work_in_eager_tasks(url):
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        client = AsyncClient(url)
        calls = (client.post("/upper", {"text": f"a{n}"}) for n in range(10))
        return [documents[0]["text"] for documents in await asyncio.gather(*calls)]

    assert asyncio.run(main()) == [f"A{n}" for n in range(10)]


def test_an_awaitable_that_has_ended_is_not_awaited_again(gateway, run):
    async def main():
        call = AsyncClient(gateway.url).post("/", {"text": "a"})
        await call
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call

    run(main())


def test_an_exception_while_a_task_is_woken_leaves_no_other_task_asleep(gateway):
    raised = []

    async def one(client):
        await client.post("/slow", {"text": "a"}, parameters={"seconds": 0.2})
        if not raised:
            # As a handler of a signal does while this task goes on.
            raised.append(True)
            raise KeyboardInterrupt

    async def main():
        client = AsyncClient(gateway.websocket_url)
        return await asyncio.gather(*(one(client) for _ in range(20)), return_exceptions=True)

    event_loop = asyncio.new_event_loop()
    try:
        task = event_loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            event_loop.run_until_complete(task)
        results = event_loop.run_until_complete(asyncio.wait_for(task, 30))
    finally:
        event_loop.close()
    assert [type(result) for result in results if result is not None] == [KeyboardInterrupt]
    assert len(results) == 20


def test_a_task_that_waits_is_cancelled_with_the_message_of_the_caller(gateway):
    async def waits(client):
        # CPython 3.10 does not hand the message on to those who await the task.
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await client.post("/slow", {"text": "a"}, parameters={"seconds": 30})

    async def main():
        task = asyncio.ensure_future(waits(AsyncClient(gateway.url)))
        await asyncio.sleep(0)
        task.cancel("enough")
        await task

    asyncio.run(main())


def test_a_task_goes_on_in_its_own_context(gateway):
    import contextvars

    number = contextvars.ContextVar("number")

    async def one(client, own):
        number.set(own)
        await client.post("/upper", {"text": "a"})
        return number.get()

    async def main():
        client = AsyncClient(gateway.url)
        return await asyncio.gather(*(one(client, own) for own in range(20)))

    assert asyncio.run(main()) == list(range(20))
