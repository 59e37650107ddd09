"""What the caller's own code raises within a call reaches the caller with its traceback, and what was sent by then
is accounted for."""

import asyncio
import logging
import sys
import traceback

import pytest

import clientlet
from clientlet import AsyncClient, Client
from clientlet.testing import Gateway

from conftest import url_of


class OwnError(Exception):
    pass


class Way:
    """A way to post: by the client that waits or by the one that is awaited, with inputs of its kind."""

    def __init__(self, url, is_async, new_loop=asyncio.new_event_loop):
        self.is_async = is_async
        self.client = AsyncClient(url) if is_async else Client(url)
        self._loop = new_loop() if is_async else None

    def _run(self, awaitable):
        return self._loop.run_until_complete(awaitable) if self.is_async else awaitable

    def post(self, *arguments, **options):
        return self._run(self.client.post(*arguments, **options))

    def next(self, stream):
        return self._run(stream.__anext__()) if self.is_async else next(stream)

    @property
    def end(self):
        return StopAsyncIteration if self.is_async else StopIteration

    def input(self, documents, error=None):
        """An input that raises after its documents. Its frame is called `own_input`."""
        if self.is_async:

            async def own_input():
                for document in documents:
                    yield document
                if error is not None:
                    raise error

        else:

            def own_input():
                for document in documents:
                    yield document
                if error is not None:
                    raise error

        return own_input()

    def close(self):
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def _ways():
    yield "waits", (False, None)
    yield "asyncio", (True, asyncio.new_event_loop)
    try:
        import uvloop
    except ImportError:
        return
    yield "uvloop", (True, uvloop.new_event_loop)


WAYS = dict(_ways())


@pytest.fixture(params=WAYS)
def way(request, url):
    way = Way(url, *WAYS[request.param])
    yield way
    way.close()


def items(count):
    return [{"id": str(number), "text": "a"} for number in range(count)]


def frames(error):
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


def check_is_quiet(way, gateway):
    """The client works on, and nothing of the call is left."""
    assert way.post("/upper", items(1))[0]["text"] == "A"
    assert way.client.statistics().requests_in_flight == 0


# Inputs


@pytest.mark.parametrize("in_order", [True, False])
def test_what_an_input_raises_comes_after_the_answers_to_what_it_gave(way, gateway, in_order):
    given = way.input(items(5), OwnError("the shelf is empty"))
    options = {"request_size": 2, "stream": True, "in_order": in_order}
    stream = way.client.post("/upper", given, **options)
    answered = []
    with pytest.raises(clientlet.InputError, match="the shelf is empty") as raised:
        while True:
            answered.append(way.next(stream))
    error = raised.value
    if not in_order:
        # In no order the input's error may come before answers.
        with pytest.raises(way.end):
            while True:
                answered.append(way.next(stream))
    assert sorted(response.input.start for response in answered) == [0, 2, 4]
    assert sorted(d["id"] for response in answered for d in response.docs) == list("01234")
    assert error.input == range(5, 6)
    assert (error.delivery, error.may_have_run, error.attempts) == ("not_sent", False, [])
    assert isinstance(error.__cause__, OwnError) and "own_input" in frames(error.__cause__)
    assert "in own_input" in "".join(traceback.format_exception(type(error), error, error.__traceback__))
    with pytest.raises(way.end):
        way.next(stream)
    # All five documents were sent once, and none beside them.
    assert sorted(id for arrival in gateway.journal for id in arrival.document_ids) == list("01234")
    numbers = way.client.statistics()
    assert (numbers.requests.count, numbers.requests_failed) == (4, {"input": 1})
    assert numbers.attempts.count == 3
    check_is_quiet(way, gateway)


def test_what_an_input_raises_ends_a_call_that_is_waited_for(way, gateway):
    done = []
    for options in ({}, {"on_done": done.append}):
        with pytest.raises(clientlet.InputError) as raised:
            way.post("/upper", way.input(items(5), OwnError()), request_size=2, **options)
        assert isinstance(raised.value.__cause__, OwnError) and raised.value.input == range(5, 6)
    # Callbacks were given all answers before.
    assert [response.input for response in done] == [range(0, 2), range(2, 4), range(4, 5)]
    check_is_quiet(way, gateway)


def test_with_an_error_callback_what_an_input_raises_is_given_to_it(way, gateway):
    failed, always = [], []
    way.post("/", way.input(items(3), OwnError()), request_size=2, on_error=failed.append, on_always=always.append)
    assert [type(error.__cause__) for error in failed] == [OwnError]
    assert [result.input for result in always] == [range(0, 2), range(2, 3), range(3, 4)]
    check_is_quiet(way, gateway)


def test_continue_on_error_keeps_the_answers_to_what_an_input_gave(way, gateway, caplog):
    back = way.post("/upper", way.input(items(3), OwnError("the shelf is empty")), continue_on_error=True)
    assert [document["text"] for document in back] == ["A"] * 3
    assert "the shelf is empty" in caplog.text
    check_is_quiet(way, gateway)


class Iterable:
    """Raises in one of its methods."""

    def __init__(self, method, error):
        self._method, self._error, self._count = method, error, 0

    def own_frame(self, method):
        if method == self._method:
            raise self._error

    def __iter__(self):
        self.own_frame("__iter__")
        return self

    def __next__(self):
        self._count += 1
        if self._count > 2:
            self.own_frame("__next__")
            raise StopIteration
        return {"id": str(self._count)}


class AsyncIterable(Iterable):
    __iter__ = None

    def __aiter__(self):
        self.own_frame("__aiter__")
        return self

    async def __anext__(self):
        try:
            return self.__next__()
        except StopIteration:
            pass
        self.own_frame("__anext__")
        raise StopAsyncIteration

    async def aclose(self):
        self.own_frame("aclose")


@pytest.mark.parametrize("method", ["__iter__", "__next__", "__aiter__", "__anext__"])
def test_what_a_method_of_an_iterator_raises_is_told(way, gateway, method):
    is_asynchronous = method.startswith("__a")
    if is_asynchronous and not way.is_async:
        pytest.skip("the client that waits takes no asynchronous input")
    given = (AsyncIterable if is_asynchronous else Iterable)(method, OwnError("no"))
    with pytest.raises((clientlet.InputError, OwnError)) as raised:
        way.post("/", given)
    cause = raised.value if isinstance(raised.value, OwnError) else raised.value.__cause__
    assert isinstance(cause, OwnError) and "own_frame" in frames(cause)
    check_is_quiet(way, gateway)


class Leave(BaseException):
    """An exception that no `except Exception` catches."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Leave, asyncio.CancelledError])
def test_what_ends_programs_and_tasks_is_raised_as_it_is(gateway, protocol, kind):
    url = url_of(gateway, protocol)
    waits = Way(url, False)
    for options in ({}, {"continue_on_error": True}, {"on_error": print}):
        with pytest.raises(kind) as raised:
            waits.post("/", waits.input(items(2), kind("stop")), request_size=1, **options)
        assert "own_input" in frames(raised.value)
    stream = waits.client.post("/", waits.input(items(1), kind("stop")), stream=True)
    assert next(stream).docs
    with pytest.raises(kind):
        next(stream)
    for name in ("on_done", "on_always"):

        def own_callback(_):
            raise kind("stop")

        with pytest.raises(kind) as raised:
            waits.post("/", items(2), request_size=1, continue_on_error=True, **{name: own_callback})
        assert "own_callback" in frames(raised.value)
    check_is_quiet(waits, gateway)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Leave])
def test_what_ends_programs_is_raised_out_of_an_awaited_call_as_it_is(gateway, protocol, kind):
    async def own_input():
        yield {"id": "0"}
        raise kind("stop")

    async def main(given):
        await AsyncClient(url_of(gateway, protocol)).post("/", given, continue_on_error=True)

    for make in (own_input, lambda: Way(gateway.url, False).input(items(1), kind("stop"))):
        with pytest.raises(kind):
            asyncio.run(main(make()))


# Callbacks


@pytest.mark.parametrize("name", ["on_done", "on_error", "on_always", "show_progress"])
def test_what_a_callback_raises_reaches_the_caller(way, gateway, name):
    def own_callback(_):
        raise OwnError("the callback is broken")

    endpoint = "/fail" if name == "on_error" else "/"
    expected = OwnError if name == "show_progress" else clientlet.CallbackError
    with pytest.raises(expected, match="the callback is broken") as raised:
        way.post(endpoint, items(8), request_size=2, prefetch=2, **{name: own_callback})
    error = raised.value
    cause = error
    if expected is clientlet.CallbackError:
        cause = error.__cause__
        assert error.input == range(0, 2) and error.request_id
        assert error.request_id in [arrival.request_id for arrival in gateway.journal]
        assert isinstance(cause, OwnError)
    assert "own_callback" in frames(cause)
    assert "in own_callback" in "".join(traceback.format_exception(type(error), error, error.__traceback__))
    # What was under way is given up, and the input is not read further than it was.
    assert sum(arrival.document_count for arrival in gateway.journal) <= 6
    check_is_quiet(way, gateway)


@pytest.mark.parametrize("name", ["on_done", "on_error", "on_always"])
def test_with_continue_on_error_what_a_callback_raises_is_logged_and_the_rest_goes_on(way, gateway, caplog, name):
    called = []

    def own_callback(result):
        called.append(result.input.start)
        raise OwnError("the callback is broken")

    endpoint = "/fail" if name == "on_error" else "/"
    with caplog.at_level(logging.WARNING, "clientlet"):
        way.post(endpoint, items(6), request_size=2, continue_on_error=True, **{name: own_callback})
    assert called == [0, 2, 4]
    records = [record for record in caplog.records if "the callback is broken" in record.getMessage()]
    assert len(records) == 3
    assert all("own_callback" in frames(record.exc_info[1]) for record in records)
    check_is_quiet(way, gateway)


@pytest.mark.parametrize("name", ["on_done", "on_error", "on_always"])
def test_an_async_callback_is_refused_since_it_would_never_run(way, gateway, name):
    async def own_callback(_):
        pass

    with pytest.raises(TypeError, match=f"{name}: an async function would not be awaited; use stream=True"):
        way.post("/", items(1), **{name: own_callback})
    assert gateway.journal == []


def test_what_a_callback_raises_for_an_error_keeps_the_error(way, gateway):
    def own_callback(error):
        raise OwnError("the callback is broken") from error

    with pytest.raises(clientlet.CallbackError) as raised:
        way.post("/fail", items(1), on_error=own_callback)
    assert isinstance(raised.value.__cause__.__cause__, clientlet.ExecutorError)


def test_what_the_class_of_the_answer_raises_reaches_the_caller(way, gateway):
    class Own:
        def __init__(self, **fields):
            raise OwnError("no such document")

    with pytest.raises(clientlet.DecodeError, match="document 0 of the answer .*no such document") as raised:
        way.post("/", items(3), request_size=2, return_type=Own)
    error = raised.value
    assert isinstance(error.__cause__, OwnError) and "__init__" in frames(error.__cause__)
    assert error.input == range(0, 2) and (error.delivery, error.may_have_run) == ("answered", True)
    check_is_quiet(way, gateway)


# Accounts


@pytest.mark.parametrize("fault, kind, delivery", [
    ("status:503@2", "gateway", "answered"), ("reset-after@2", "transport", "unknown"),
    ("reset-before@2", "transport", "unknown"),
])  # fmt: skip
def test_each_document_is_accounted_for(fault, kind, delivery):
    with Gateway(faults=[fault]) as gateway:
        client = Client(gateway.url)
        documents = items(10)
        options = {"request_size": 3, "prefetch": 1, "keep_documents": True}
        results = list(client.post("/", documents, stream=True, continue_on_error=True, **options))
        assert [number for result in results for number in result.input] == list(range(10))
        failed = [result for result in results if isinstance(result, clientlet.Error)]
        (error,) = failed
        assert (error.kind, error.delivery) == (kind, delivery)
        assert error.documents == documents[3:6] and error.input == range(3, 6)
        assert len(error.attempts) == 1 and error.attempts[0].kind == kind
        numbers = client.statistics()
        assert numbers.requests_failed == {kind: 1} and numbers.requests.count == 4


def test_a_stopped_call_says_what_became_of_each_request(way, gateway):
    stream = way.client.post("/slow", items(6), parameters={"seconds": 60}, request_size=1, prefetch=3, stream=True)
    reading = None
    if way.is_async:

        async def start():
            nonlocal reading
            reading = asyncio.ensure_future(stream.__anext__())
            while len(gateway.journal) < 3:
                await asyncio.sleep(0.005)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

        way._run(start())
    else:
        with pytest.raises(RuntimeError):
            _interrupted(stream, gateway)
    ended = stream.stop()
    assert [error.input for error in ended] == [range(number, number + 1) for number in range(3)]
    assert {(error.kind, error.delivery) for error in ended} == {("cancelled", "unknown")}
    assert stream.stop() == []
    check_is_quiet(way, gateway)


def _interrupted(stream, gateway):
    """Reads the stream until a signal's handler raises, once three requests have arrived."""
    import signal
    import threading

    def handler(*_):
        raise RuntimeError("enough")

    before = signal.signal(signal.SIGUSR1, handler)

    def strike():
        while len(gateway.journal) < 3:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        next(stream)
    finally:
        striking.join()
        signal.signal(signal.SIGUSR1, before)


def test_an_exception_keeps_no_call_running(gateway):
    """A traceback keeps the variables of its frames; a call that was given up has ended all the same."""
    kept = []
    client = Client(gateway.url)

    def own_callback(_):
        raise OwnError

    for _ in range(3):
        try:
            client.post("/", items(50), request_size=1, prefetch=4, on_done=own_callback)
        except clientlet.CallbackError as error:
            kept.append(error)
    assert len(kept) == 3 and client.statistics().requests_in_flight == 0
    assert sys.exc_info() == (None, None, None)


def test_a_kept_exception_keeps_no_stream_running(gateway):
    """An error of a stream leaves it to be read; it ends with the last reference to it."""
    client = clientlet.AsyncClient(gateway.url)

    async def read():
        async for _ in client.post("/slow", items(50), parameters={"seconds": 60}, request_size=1, stream=True):
            pass

    async def cancelled():
        task = asyncio.ensure_future(read())
        while client.statistics().requests_in_flight == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            return error

    kept = asyncio.run(cancelled())
    assert kept.__traceback__ is not None and client.statistics().requests_in_flight == 0

    waiting = Client(gateway.url)
    with pytest.raises(clientlet.Error) as raised:
        for _ in waiting.post("/fail", items(50), request_size=1, prefetch=4, stream=True):
            pass
    assert raised.value.__traceback__ is not None and waiting.statistics().requests_in_flight == 0
