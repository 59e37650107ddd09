"""The client that waits."""

import gc
import math
import pickle
import subprocess
import sys
import threading

import pytest

import clientlet
from clientlet import Client
from clientlet.testing import Gateway

from conftest import url_of


def test_documents_come_back_in_order(url):
    documents = [{"id": str(n), "text": "hello"} for n in range(250)]
    upper = Client(url).post("/upper", documents, request_size=7)
    assert [document["id"] for document in upper] == [str(n) for n in range(250)]
    assert {document["text"] for document in upper} == {"HELLO"}


@pytest.mark.parametrize("inputs", [
    {"text": "a"}, [{"text": "a"}], ({"text": "a"},), iter([{"text": "a"}]),
    lambda: [{"text": "a"}],
])  # fmt: skip
def test_inputs_are_one_document_many_or_a_function_that_gives_them(gateway, inputs):
    assert Client(gateway.url).post("/upper", inputs)[0]["text"] == "A"


def test_a_call_without_documents_is_one_request(gateway, protocol):
    assert Client(url_of(gateway, protocol)).post("/upper") == []
    assert [arrival.document_count for arrival in gateway.journal] == [0]


@pytest.mark.parametrize("request_size, requests", [(100, 3), (0, 1), (-1, 1), (250, 1), (1, 250)])
def test_request_size_is_the_number_of_documents_of_a_request(gateway, request_size, requests):
    documents = ({"text": "a"} for _ in range(250))
    Client(gateway.grpc_url).post("/", documents, request_size=request_size)
    assert len(gateway.journal) == requests


def test_options_arrive(gateway, protocol):
    client = Client(url_of(gateway, protocol), headers={"x-client": "1"}, bearer_token="secret")
    results = client.post(
        "/params", {"text": "a"}, parameters={"shelf": 7, "deep": {"list": [1, "two", None]}},
        headers={"x-call": "2"}, metadata=[("x-meta", "3")], target_executor="executor.*", stream=True,
    )  # fmt: skip
    response = next(results)
    assert response.parameters["shelf"] == 7
    arrival = gateway.journal[0]
    assert arrival.parameters["deep"] == {"list": [1, "two", None]}
    names = ("x-client", "x-call", "x-meta", "authorization")
    assert [arrival.headers[name] for name in names] == ["1", "2", "3", "Bearer secret"]


def test_a_stream_holds_back_its_input(gateway, protocol):
    taken = 0

    def documents():
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield {"text": str(n)}

    client = Client(url_of(gateway, protocol))
    stream = client.post("/", documents(), request_size=1, prefetch=4, stream=True)
    first = next(stream)
    assert first.input == range(0, 1) and taken <= 6
    rest = list(stream)
    assert len(rest) == 999 and taken == 1000
    with pytest.raises(StopIteration):
        next(stream)


def test_a_response_tells_of_its_request(url):
    response = next(Client(url).post("/upper", {"text": "a"}, stream=True))
    assert response.docs[0]["text"] == "A"
    assert response.input == range(0, 1) and response.attempts == 1 and response.docarray == "v1"
    assert response.status.code == 0 and response.elapsed > 0
    assert response.request_id in repr(response)


def test_an_executors_exception_is_raised(url):
    with pytest.raises(clientlet.ExecutorError) as raised:
        Client(url).post("/fail", {"text": "a"}, parameters={"kind": "key", "message": "no"})
    error = raised.value
    assert (error.kind, error.delivery, error.may_have_run) == ("executor", "answered", True)
    assert error.exception.name == "KeyError" and error.input == range(0, 1)
    assert len(error.attempts) == 1 and error.attempts[0].kind == "executor"
    assert error.request_id and error.request_id in str(error)


def test_errors_are_what_callers_catch(protocol):
    scheme = {"http": "http", "websocket": "ws", "grpc": "grpc"}[protocol]
    client = Client(f"{scheme}://127.0.0.1:1")
    with pytest.raises(ConnectionError) as raised:
        client.post("/", {"text": "a"})
    assert isinstance(raised.value, clientlet.ConnectError) and not raised.value.may_have_run
    assert not client.is_flow_ready()
    with pytest.raises(ConnectionError):
        client.ready()
    with pytest.raises(ValueError, match="no field"):
        with Gateway() as gateway:
            Client(url_of(gateway, protocol)).post("/", {"nope": 1})


def test_a_time_out_is_a_timeout_error(url):
    with pytest.raises(TimeoutError) as raised:
        Client(url).post("/slow", {"text": "a"}, parameters={"seconds": 60}, timeout=0.2)
    assert isinstance(raised.value, clientlet.TimeoutError) and raised.value.may_have_run


def test_an_error_survives_a_pickle(url):
    with pytest.raises(clientlet.Error) as raised:
        Client(url).post("/fail", {"text": "a"}, keep_documents=True)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is type(raised.value) and str(copy) == str(raised.value)
    assert copy.attempts == raised.value.attempts and copy.documents[0]["text"] == "a"


def test_failures_are_retried_as_asked():
    with Gateway(faults=["status:503@1"]) as gateway:
        client = Client(gateway.url)
        with pytest.raises(clientlet.GatewayError):
            client.post("/", {"text": "a"})
    with Gateway(faults=["status:503@1"]) as gateway:
        client = Client(gateway.url, retry=clientlet.Retry(max_attempts=2, initial_backoff=0.01))
        stream = client.post("/", {"text": "a"}, stream=True)
        assert next(stream).attempts == 2
    with Gateway(faults=["status:503@1"]) as gateway:
        response = next(Client(gateway.url).post("/", max_attempts=2, initial_backoff=0, stream=True))
        assert response.attempts == 2


def test_callbacks_take_the_results():
    done, failed, always = [], [], []
    with Gateway(faults=["status:503@2"]) as gateway:
        result = Client(gateway.url).post(
            "/", [{"text": "a"}, {"text": "b"}, {"text": "c"}], request_size=1, prefetch=1,
            on_done=done.append, on_error=failed.append, on_always=always.append,
        )  # fmt: skip
    assert result is None
    assert [response.input.start for response in done] == [0, 2]
    assert [error.input.start for error in failed] == [1]
    assert [result.input.start for result in always] == [0, 1, 2]


def test_an_exception_of_a_callback_is_its_cause(gateway):
    client = Client(gateway.url)
    with pytest.raises(clientlet.CallbackError) as raised:
        client.post("/", {"text": "a"}, on_done=lambda response: 1 / 0)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert raised.value.__cause__.__traceback__ is not None
    assert client.post("/", {"text": "a"})


def test_continue_on_error_gives_the_rest(caplog):
    with Gateway(faults=["status:503@2"]) as gateway:
        client = Client(gateway.url)
        documents = [{"id": str(n)} for n in range(3)]
        rest = client.post(
            "/", documents, request_size=1, prefetch=1, continue_on_error=True
        )
        assert [document["id"] for document in rest] == ["0", "2"]
        assert "503" in caplog.text
    with Gateway(faults=["status:503@2"]) as gateway:
        stream = Client(gateway.url).post(
            "/", documents, request_size=1, prefetch=1, stream=True, continue_on_error=True
        )
        kinds = [type(result).__name__ for result in stream]
        assert kinds == ["Response", "GatewayError", "Response"]


def test_what_failed_is_told_by_its_places_when_the_others_go_on():
    documents = [{"id": str(n)} for n in range(10)]
    failed = []
    with Gateway(faults=["status:503@2"]) as gateway:
        client = Client(gateway.url)
        rest = client.post(
            "/", documents, request_size=2, prefetch=1, continue_on_error=True, on_error=failed.append
        )
    assert len(rest) == 8 and [error.input for error in failed] == [range(2, 4)]
    with Gateway(faults=["status:503@2"]) as gateway:
        stream = Client(gateway.url).post(
            "/", documents, request_size=2, prefetch=1, continue_on_error=True, stream=True
        )
        assert [result.input for result in stream if isinstance(result, clientlet.Error)] == [range(2, 4)]


def test_a_stream_goes_on_behind_a_failure():
    with Gateway(faults=["status:503@1"]) as gateway:
        documents = [{"id": "a"}, {"id": "b"}]
        stream = Client(gateway.url).post("/", documents, request_size=1, prefetch=1, stream=True)
        with pytest.raises(clientlet.GatewayError):
            next(stream)
        assert next(stream).docs[0]["id"] == "b"


def test_an_exception_of_the_input_is_the_cause_and_what_was_read_is_sent(gateway, protocol):
    def documents():
        yield {"text": "a"}
        yield {"text": "b"}
        raise LookupError("the shelf is empty")

    stream = Client(url_of(gateway, protocol)).post("/upper", documents(), stream=True)
    assert [document["text"] for document in next(stream).docs] == ["A", "B"]
    with pytest.raises(clientlet.InputError) as raised:
        next(stream)
    cause = raised.value.__cause__
    assert isinstance(cause, LookupError) and raised.value.input == range(2, 3)
    assert cause.__traceback__.tb_frame.f_code.co_name == "documents"
    assert raised.value.delivery == "not_sent"


def test_a_stopped_stream_accounts_for_its_requests(gateway):
    client = Client(gateway.grpc_url)
    documents = [{"text": str(n)} for n in range(8)]
    stream = client.post("/", documents, request_size=1, prefetch=4, stream=True)
    assert next(stream).input == range(0, 1)
    ended = stream.stop()
    starts = [result.input.start for result in ended]
    assert starts == list(range(1, 1 + len(starts)))
    for result in ended:
        if isinstance(result, clientlet.Error):
            assert (result.kind, result.delivery) in {("cancelled", "unknown"), ("cancelled", "not_sent")}
    assert list(stream) == []


def test_questions_are_answered(gateway, protocol):
    client = Client(url_of(gateway, protocol))
    assert client.ready() is True and client.is_flow_ready() is True
    assert client.wait_ready(5) is True
    assert client.status().docarray == "v1" and "jina" in client.status().jina
    assert client.endpoints().takes_any
    if protocol == "grpc":
        assert client.health() == "serving"
    else:
        with pytest.raises(clientlet.ConfigError):
            client.health()
    gateway.executor_down()
    with pytest.raises(clientlet.GatewayError):
        client.ready()


def test_a_generator_of_an_executor_is_a_stream():
    with Gateway(docarray="v2") as gateway:
        for url in (gateway.url, gateway.grpc_url):
            words = Client(url).stream_doc("/stream", {"text": "a"})
            assert len(list(words)) == 3
        with pytest.raises(clientlet.ConfigError):
            list(Client(gateway.websocket_url).stream_doc("/stream", {"text": "a"}))


def test_a_client_survives_a_pickle_without_its_connections(gateway):
    client = Client(gateway.url, headers={"x-client": "1"}, retry=clientlet.Retry(2))
    copy = pickle.loads(pickle.dumps(client))
    assert copy.post("/upper", {"text": "a"})[0]["text"] == "A"
    assert gateway.journal[0].headers["x-client"] == "1"


def test_no_limit_is_infinity(gateway):
    client = Client(gateway.url, attempt_timeout=math.inf, idle_timeout=math.inf)
    assert client.post("/", {"text": "a"}, timeout=math.inf, attempt_timeout=math.inf)


def test_threads_share_a_client(url):
    client = Client(url)
    results = {}

    def work(number):
        results[number] = client.post("/upper", [{"text": f"a{number}"}] * 10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: {d["text"] for d in documents} for number, documents in results.items()} == {
        number: {f"A{number}"} for number in range(8)
    }


def test_importing_starts_nothing():
    code = (
        "import threading, sys, os\n"
        "import clientlet\n"
        "clientlet.Client('http://localhost:1')\n"
        "names = [open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')]\n"
        "assert threading.active_count() == 1 and 'clientlet' not in names, names\n"
        "assert 'numpy' not in sys.modules and 'asyncio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_fixture_of_the_package_is_a_gateway(clientlet_gateway):
    assert Client(clientlet_gateway.url).ready()


def test_a_client_counts(gateway, protocol):
    client = Client(url_of(gateway, protocol))
    client.post("/upper", [{"text": "a"}] * 3, request_size=1)
    with pytest.raises(clientlet.ExecutorError):
        client.post("/fail", {"text": "a"})
    numbers = client.statistics()
    assert (numbers.requests.count, numbers.requests_failed) == (4, {"executor": 1})
    assert numbers.requests_in_flight == 0 and numbers.retries == 0 and numbers.connections_opened >= 1
    assert 0 < numbers.requests.mean <= numbers.requests.sum and numbers.bytes_sent > 100


def test_a_closed_client_is_a_closed_error(url):
    with Client(url) as client:
        stream = client.post("/", {"text": "a"}, stream=True)
    with pytest.raises(clientlet.ClosedError, match="is closed"):
        client.post("/", {"text": "a"})
    with pytest.raises(ConnectionError):
        client.ready()
    # What was begun before goes on.
    assert next(stream).docs[0]["text"] == "a"
    client.close()
    assert "127.0.0.1" in repr(client)


@pytest.mark.parametrize("end", ["stop", "drop"])
def test_a_stream_that_is_left_closes_its_input(gateway, end):
    closed = []

    def documents():
        try:
            for n in range(1000):
                yield {"text": str(n)}
        finally:
            closed.append(True)

    stream = Client(gateway.url).post("/", documents(), request_size=1, prefetch=2, stream=True)
    next(stream)
    assert closed == []
    if end == "stop":
        stream.stop()
    else:
        del stream
    gc.collect()
    assert closed == [True]


def test_threads_wait_beside_each_other(protocol):
    """A call that waits holds up no other thread: neither a call nor code of Python."""
    with Gateway() as gateway:
        client = Client(url_of(gateway, protocol))
        client.ready()

        def work():
            with pytest.raises(clientlet.Error):
                client.post("/slow", {"text": "a"}, parameters={"seconds": 60})

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        # All are under way at a time, and one more is answered before them.
        while len(gateway.journal) < 20:
            pass
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert client.statistics().requests_in_flight == 20
    # The gateway has stopped.
    for thread in threads:
        thread.join()
    assert client.statistics().requests_in_flight == 0


def test_an_assertion_that_fails_in_a_handler_fails_the_test_whatever_the_client_made_of_it():
    def handler(request):
        assert request.documents[0]["text"] == "expected", "the wrong text"

    with pytest.raises(AssertionError, match="the wrong text") as raised:
        with Gateway({"/check": handler}) as gateway:
            rest = Client(gateway.url).post(
                "/check", [{"text": "a"}, {"text": "expected"}], request_size=1, continue_on_error=True
            )
            assert [document["text"] for document in rest] == ["expected"]
    assert raised.traceback[-1].name == "handler"
    # It is raised once.
    gateway.stop()


def test_a_handler_that_fails_the_test_by_pytest_fails_it_and_the_next_request_is_answered():
    def handler(request):
        if request.documents[0]["text"] == "a":
            pytest.fail("no a is allowed")

    with pytest.raises(pytest.fail.Exception, match="no a is allowed"):
        with Gateway({"/check": handler}) as gateway:
            client = Client(gateway.url)
            with pytest.raises(clientlet.ExecutorError):
                client.post("/check", {"text": "a"})
            assert client.post("/check", {"text": "b"})


def test_other_exceptions_of_a_handler_are_the_executors_alone():
    def handler(request):
        raise ValueError("no")

    with Gateway({"/check": handler}) as gateway:
        with pytest.raises(clientlet.ExecutorError, match="no"):
            Client(gateway.url).post("/check", {"text": "a"})
