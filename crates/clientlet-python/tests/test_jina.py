"""Jina's own client on this package's core: what its tests hold it to, against a real gateway of the same
environment."""

import asyncio
import logging
import math
import pickle
import threading

import pytest
from beside_jina import (
    IS_SEED,
    PROTOCOLS,
    RETURN,
    Caller,
    Item,
    Items,
    RealGateway,
    Relay,
    docarray_v2,
    free_port,
    items,
)
from jina import Client
from jina.excepts import BadClientCallback, BadServer
from jina.types.request.data import DataRequest

import clientlet

SERVER_ERRORS = (BadServer, ValueError) if docarray_v2 else BadServer


@pytest.fixture(scope="module", autouse=True)
def hook():
    with clientlet.install_jina():
        yield


@pytest.fixture(scope="module")
def real():
    gateway = RealGateway()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def mortal():
    gateway = RealGateway("--retries", "0")
    yield gateway
    gateway.stop()


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    return request.param


@pytest.fixture(params=["sync", "asyncio"])
def mode(request):
    return request.param


@pytest.fixture
def caller(real, protocol, mode):
    return Caller(protocol, real.ports[protocol], mode == "asyncio")


class Callbacks:
    """Callbacks that note what they are given."""

    def __init__(self):
        self.done, self.errors, self.always = [], [], []

    def all(self):
        return {
            "on_done": self.done.append, "on_error": self.errors.append, "on_always": self.always.append,
        }  # fmt: skip


def test_the_calls_run_on_the_core(caller):
    (response,) = caller.post("/upper", items(1), return_responses=True)
    assert type(response).__module__ == "clientlet._jina_answers"
    assert isinstance(response, DataRequest)
    assert [item.text for item in response.docs] == ["T0"]
    assert [item.text for item in response.data.docs] == ["T0"]


def test_a_request_comes_back_with_its_endpoint_and_parameters(caller):
    parameters = {"a": 1, "b": {"c": [True, None, "x"]}}
    (response,) = caller.post("/params", items(2), parameters=parameters, return_responses=True)
    told = response.parameters
    assert told["a"] == 1 and told["b"] == {"c": [True, None, "x"]}
    assert response.status.code == 0
    if caller.protocol != "http":
        assert response.header.exec_endpoint == "/params"
    if caller.protocol != "http" or not docarray_v2:
        assert response.routes[0].executor == "gateway" and response.last_executor == "executor0"


def test_a_target_that_matches_nothing_still_answers(caller):
    answered = caller.post("/upper", items(2), target_executor="no.*such")
    (response,) = caller.post("/upper", items(2), target_executor="no.*such", return_responses=True)
    assert response.status.code == 0
    if caller.protocol == "http" and docarray_v2:
        assert len(answered) == 2
    else:
        assert [item.text for item in answered] == ["t0", "t1"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_closed_port_is_a_connection_error(protocol, mode, attempts):
    caller = Caller(protocol, free_port(), mode == "asyncio")
    with pytest.raises(ConnectionError) as raised:
        caller.post("/upper", items(1), max_attempts=attempts, initial_backoff=0.01)
    assert isinstance(raised.value.__cause__, clientlet.ConnectError)
    assert not caller.is_ready()


def test_a_call_waits_for_a_gateway_that_is_still_starting(real, protocol, mode):
    port = free_port()
    relays = []
    late = threading.Timer(0.2, lambda: relays.append(Relay(real.ports[protocol], port)))
    late.start()
    callbacks = Callbacks()
    caller = Caller(protocol, port, mode == "asyncio")
    options = {"max_attempts": 100, "initial_backoff": 0.1, "max_backoff": 0.1, "backoff_multiplier": 1.0}
    caller.post("/upper", items(1), **options, **callbacks.all())
    late.join()
    relays[0].close()
    assert (len(callbacks.done), callbacks.errors) == (1, [])


def test_one_request_is_done_once(caller):
    callbacks = Callbacks()
    caller.post("/upper", items(3), **callbacks.all())
    assert (len(callbacks.done), callbacks.errors) == (1, [])
    assert callbacks.always == callbacks.done
    assert [item.text for item in callbacks.done[0].docs] == ["T0", "T1", "T2"]


def test_no_documents_are_a_request(caller):
    callbacks = Callbacks()
    caller.post("/upper", **callbacks.all())
    assert len(callbacks.always) == 1
    assert len(caller.post("/upper", None)) == 0


def test_a_thousand_documents_with_parameters_are_ten_requests(caller):
    responses = caller.post("/upper", items(1000), parameters={"a": 1.5}, return_responses=True)
    assert len(responses) == 10
    assert sorted(item.text for response in responses for item in response.docs) == sorted(
        f"T{number}" for number in range(1000)
    )


@pytest.mark.parametrize("done", [False, True])
def test_an_exception_of_an_executor_without_a_handler_is_a_server_error(caller, done):
    callbacks = Callbacks()
    options = {"on_done": callbacks.done.append} if done else {}
    with pytest.raises(SERVER_ERRORS) as raised:
        caller.post("/fail", items(1), parameters={"message": "so it is"}, **options)
    assert "so it is" in str(raised.value)
    assert callbacks.done == []
    assert [item.text for item in caller.post("/upper", items(1))] == ["T0"]


def test_an_exception_of_an_executor_is_given_to_the_handler(caller):
    callbacks = Callbacks()
    caller.post("/fail", items(2), request_size=1, **callbacks.all())
    assert (len(callbacks.done), len(callbacks.errors), len(callbacks.always)) == (0, 2, 2)
    status = callbacks.errors[0].header.status
    assert status.code == 1 and status.exception.name == "ValueError"
    assert "always fails" in status.description


def test_with_continue_on_error_each_request_has_its_result(caller):
    failed, answered = Callbacks(), Callbacks()
    caller.post("/fail", items(3), request_size=1, continue_on_error=True, on_always=failed.always.append)
    assert [answer.status.code for answer in failed.always] == [1, 1, 1]
    caller.post("/upper", items(3), request_size=1, continue_on_error=True, **answered.all())
    assert (len(answered.done), answered.errors) == (3, [])


def test_an_exception_in_a_callback_is_a_callback_error(caller):
    def stumble(response):
        raise KeyError("oh")

    for name in ("on_done", "on_always"):
        with pytest.raises(BadClientCallback, match="uncaught exception in callback stumble.*oh"):
            caller.post("/upper", items(1), **{name: stumble})
    with pytest.raises(BadClientCallback):
        caller.post("/fail", items(1), on_error=stumble)
    assert [item.text for item in caller.post("/upper", items(1))] == ["T0"]


def test_an_exception_in_a_callback_is_logged_with_continue_on_error(caller):
    always = []
    caller.post(
        "/upper", items(2), request_size=1, on_done=lambda response: 1 / 0, on_always=always.append,
        continue_on_error=True,
    )  # fmt: skip
    assert len(always) == 2


@pytest.mark.parametrize("host", ["http", "ws", "websocket", "grpc"])
def test_the_scheme_of_the_host_chooses_the_protocol(real, host):
    protocol = {"ws": "websocket"}.get(host, host)
    client = Client(host=f"{host}://127.0.0.1:{real.ports[protocol]}")
    assert [item.text for item in client.post("/upper", items(1), **RETURN)] == ["T0"]


@pytest.mark.parametrize("host", ["https", "wss", "grpcs"])
def test_secure_schemes_speak_tls(host, tmp_path, monkeypatch):
    docarray = "v2" if docarray_v2 else "v1"
    with clientlet.testing.Gateway(docarray=docarray, tls=True) as gateway:
        trusted = tmp_path / "ca.pem"
        trusted.write_text(gateway.ca)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(trusted))
        number = ["https", "wss", "grpcs"].index(host)
        port = int(gateway.urls[number].rsplit(":", 1)[1])
        client = Client(host=f"{host}://127.0.0.1:{port}")
        assert client.args.tls
        assert [item.text for item in client.post("/upper", items(1), **RETURN)] == ["T0"]
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        stranger = Client(host=f"{host}://127.0.0.1:{port}")
        with pytest.raises(OSError):
            stranger.post("/upper", items(1), **RETURN)


def test_a_dead_executor_is_a_connection_error_until_it_is_back(mortal, protocol, mode):
    used = Caller(protocol, mortal.ports[protocol], mode == "asyncio")
    new = Caller(protocol, mortal.ports[protocol], mode == "asyncio")
    assert used.is_ready()
    used.post("/upper", items(1))
    mortal.kill_executor()
    says_no_more = protocol == "http" and docarray_v2
    try:
        for caller in (used, new, used):
            # Over HTTP a gateway with documents v2 says that there was an error, and nothing else.
            with pytest.raises(ValueError if says_no_more else ConnectionError) as raised:
                caller.post("/upper", items(1))
            assert says_no_more or "deployment" in str(raised.value)
        if protocol != "http":
            assert not used.is_ready()
    finally:
        mortal.revive()
    assert [item.text for item in used.post("/upper", items(1))] == ["T0"]
    assert used.is_ready()


@pytest.fixture(scope="module")
def doubled():
    """A gateway whose executor has two replicas."""
    gateway = RealGateway("--replicas", "2")
    yield gateway
    gateway.stop()


def test_one_dead_replica_is_invisible(doubled, protocol, mode):
    used = Caller(protocol, doubled.ports[protocol], mode == "asyncio")
    assert len(used.post("/upper", items(1))) == 1
    assert len(doubled.told["pids"]["executors"]) == 2
    doubled.kill_executor()
    try:
        new = Caller(protocol, doubled.ports[protocol], mode == "asyncio")
        for caller in (used, new):
            callbacks = Callbacks()
            caller.post("/upper", items(12), request_size=1, prefetch=1, **callbacks.all())
            assert (len(callbacks.done), callbacks.errors) == (12, [])
            # A gateway of 3.14.1 answers some with an error if there are many at a time.
            again = {"max_attempts": 10, "initial_backoff": 0.01} if IS_SEED else {}
            assert len(caller.post("/upper", items(30), request_size=1, **again)) == 30
            assert caller.is_ready()
    finally:
        doubled.revive()


@pytest.mark.parametrize("is_async_input", [False, True])
def test_prefetch_one_sends_a_document_before_the_next_is_read(caller, is_async_input):
    seen = []

    def read():
        for number in range(4):
            seen.append(("read", number))
            yield Item(text=f"t{number}")

    async def read_slowly():
        for item in read():
            await asyncio.sleep(0.01)
            yield item

    caller.post(
        "/upper", read_slowly if is_async_input else read, request_size=1, prefetch=1,
        on_done=lambda response: seen.append(("answered", seen[-1][1])),
    )  # fmt: skip
    expected = []
    for number in range(4):
        expected += [("read", number), ("answered", number)]
    assert seen == expected


def test_an_input_that_blocks_does_not_hold_up_the_event_loop(real, protocol):
    go_on, waited = threading.Event(), []

    def blocking():
        yield Item(text="t0")
        waited.append(go_on.wait(timeout=30))
        yield Item(text="t1")

    async def post():
        client = Client(protocol=protocol, port=real.ports[protocol], asyncio=True)
        texts = []
        async for response in client.post("/upper", blocking, request_size=1, return_responses=True, **RETURN):
            texts += [document.text for document in response.docs]
            # The loop runs while the generator waits.
            go_on.set()
        return texts

    texts = asyncio.run(post())
    assert sorted(texts) == ["T0", "T1"] and waited == [True]


def test_a_fast_input_is_read_ahead_up_to_prefetch_and_no_further(caller):
    read, ahead = [], []

    def fast():
        for number in range(12):
            read.append(number)
            yield Item(text=f"t{number}")

    def answered(response):
        ahead.append(len(read) - len(ahead))

    caller.post("/slow", fast, parameters={"seconds": 0.02}, request_size=1, prefetch=3, on_done=answered)
    assert len(ahead) == 12
    assert max(ahead) <= 4


def test_all_answers_arrive_beside_a_flooding_client(real, protocol):
    counts = {}

    def flood():
        caller = Caller(protocol, real.ports[protocol])
        counts["flood"] = len(caller.post("/upper", items(600), request_size=1))

    def polite(name):
        caller = Caller(protocol, real.ports[protocol])
        counts[name] = sum(len(caller.post("/upper", items(1))) for _ in range(5))

    threads = [threading.Thread(target=flood)]
    threads += [threading.Thread(target=polite, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {"flood": 600, "a": 5, "b": 5, "c": 5}


@pytest.mark.parametrize("stream", [True, False])
def test_results_in_order_keep_the_order_and_the_count(caller, stream):
    answered = caller.post(
        "/upper", items(97), request_size=3, results_in_order=True, prefetch=8, stream=stream
    )
    assert [item.text for item in answered] == [f"T{number}" for number in range(97)]


@pytest.mark.parametrize("size", [1, 3, 10])
def test_asynchronous_inputs_are_put_into_requests_of_the_size(caller, size):
    async def inputs():
        for number in range(7):
            await asyncio.sleep(0)
            yield Item(text=f"t{number}")

    responses = caller.post(
        "/upper", inputs(), request_size=size, results_in_order=True, return_responses=True
    )
    assert len(responses) == math.ceil(7 / size)
    assert [item.text for response in responses for item in response.docs] == [f"T{n}" for n in range(7)]


@pytest.mark.parametrize("give", [list, iter, lambda given: lambda: given, lambda given: lambda: iter(given)])
def test_inputs_are_taken_in_all_forms(caller, give):
    answered = caller.post("/upper", give(items(5)), request_size=2, results_in_order=True)
    assert [item.text for item in answered] == ["T0", "T1", "T2", "T3", "T4"]


def test_a_single_document_is_an_input(caller):
    answered = caller.post("/upper", Item(text="alone"))
    assert [item.text for item in answered] == ["ALONE"]


@pytest.mark.skipif(not docarray_v2, reason="documents v1 have no class of their own")
def test_the_class_of_a_document_returns_one_document(caller):
    if caller.is_async:
        pytest.skip("the asynchronous client returns it for each response")
    assert caller.post("/upper", items(1), return_type=Item).text == "T0"


def test_crud_and_profiling_work(caller):
    if caller.is_async:
        pytest.skip("the same methods")
    for name in ("index", "search", "update", "delete"):
        assert len(getattr(caller.client, name)(items(2), **RETURN)) == 2
    if caller.protocol != "http" or not docarray_v2:
        if not docarray_v2:
            assert caller.client.profiling(show_table=False)["Roundtrip"] > 0


def test_a_progress_bar_is_shown_where_it_is_asked_for(caller, capsys):
    assert len(caller.post("/upper", items(4), request_size=2, show_progress=True)) == 4


@pytest.mark.skipif(not docarray_v2, reason="documents v1 are not streamed")
@pytest.mark.parametrize("streaming", ["http", "grpc"])
def test_a_stream_of_documents_comes_in_order(real, streaming):
    from beside_jina import Part

    async def texts(on, **options):
        client = Client(protocol=streaming, port=real.ports[streaming], host="127.0.0.1", asyncio=True)
        stream = client.stream_doc(on, Part(text="event: x"), return_type=Part, **options)
        return [part.text async for part in stream]

    assert asyncio.run(texts("/stream")) == ["event: x 0", "event: x 1", "event: x 2"]
    with pytest.raises(BadServer, match="no stream of documents|no endpoint"):
        asyncio.run(texts("/upper"))


@pytest.mark.skipif(not docarray_v2, reason="documents v1 are not streamed")
@pytest.mark.parametrize("streaming", ["http", "grpc"])
def test_parameters_of_a_stream_are_sent_where_gateways_take_them(real, streaming, caplog):
    from beside_jina import Part

    async def texts():
        client = Client(protocol=streaming, port=real.ports[streaming], host="127.0.0.1", asyncio=True)
        given = {"at": 1_700_000_000_000_000_001}
        stream = client.stream_doc("/stream", Part(text="a"), return_type=Part, parameters=given)
        return [part.text async for part in stream]

    with caplog.at_level(logging.WARNING, logger="clientlet.jina"):
        assert asyncio.run(texts()) == ["a 0", "a 1", "a 2"]
    assert ("stream_doc over HTTP sends no parameters" in caplog.text) == (streaming == "http")


@pytest.mark.parametrize("given", ["abc", {1, 2}, 5, [1], [("a", 1)]])
def test_parameters_that_are_no_dict_are_named(protocol, given):
    client = Client(protocol=protocol, port=free_port())

    async def post():
        of = {"on_done": None, "on_error": None, "on_always": None}
        async for _ in client._get_results(inputs=None, parameters=given, exec_endpoint="/upper", **of):
            pass

    client.show_progress = client.continue_on_error = False
    with pytest.raises(TypeError, match="parameters: a dict or a pydantic model is expected, not"):
        asyncio.run(post())


@pytest.mark.parametrize("given", [3, 3.5, object(), {1}, [3], *(["abc", b"abc", ["abc"]] if docarray_v2 else [])])
def test_an_input_that_is_no_document_is_named(caller, given):
    kinds = r"document of docarray \(BaseDoc\)" if docarray_v2 else "document, text, bytes or an array"
    with pytest.raises(TypeError, match=rf"inputs: a {kinds} is expected, not (int|float|object|str|bytes)"):
        caller.post("/upper", given)


@pytest.mark.parametrize("on", [None, 7])
def test_an_endpoint_that_is_no_text_is_refused(caller, on):
    with pytest.raises(TypeError, match="on: .* is not an instance of 'str'"):
        caller.post(on, items(1))


def test_the_proxies_of_the_environment_are_used_when_the_client_is_told_to(protocol, monkeypatch):
    from test_connections import Proxy

    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Proxy() as proxy, clientlet.testing.Gateway(docarray="v2" if docarray_v2 else "v1") as gateway:
        monkeypatch.setenv("http_proxy", proxy.url)
        # Loopback addresses need no proxy, and this name is known to the proxy alone.
        port = int(gateway.urls[PROTOCOLS.index(protocol)].rsplit(":", 1)[1])
        address = {"protocol": protocol, "host": "gateway.invalid", "port": port}
        assert [item.text for item in Client(proxy=True, **address).post("/upper", items(1), **RETURN)] == ["T0"]
        count = len(proxy.heads)
        assert count
        with pytest.raises(OSError, match="gateway.invalid"):
            Client(**address).post("/upper", items(1), **RETURN)
        assert len(proxy.heads) == count


def test_answers_are_copied_pickled_and_serialised_as_jinas_own(caller):
    (response,) = caller.post("/upper", items(2), return_responses=True)
    again = pickle.loads(pickle.dumps(response))
    assert type(again) is DataRequest
    parsed = DataRequest(response.SerializeToString())
    if docarray_v2:
        parsed.document_array_cls = Items
    for one in (response, again, parsed):
        assert [item.text for item in one.docs] == ["T0", "T1"]
        told = one.to_dict()
        assert {"header", "parameters", "data"} <= set(told)
        assert len(told["data"]) == 2
    assert response.proto == parsed.proto


def test_documents_can_be_set_in_an_answer(caller):
    (response,) = caller.post("/upper", items(2), return_responses=True)
    assert len(response.data.docs) == 2
    response.data.docs = items(3)
    assert [item.text for item in response.data.docs] == ["t0", "t1", "t2"]
    assert len(response.proto.data.docs.docs) == 3


def test_options_of_a_call_do_not_stick(caller):
    before = {name: repr(value) for name, value in vars(caller.client.args).items()}
    caller.post("/upper", items(3), prefetch=1, request_size=1, parameters={"a": 1})
    assert {name: repr(value) for name, value in vars(caller.client.args).items()} == before


@pytest.mark.skipif(IS_SEED, reason="clients of 3.14.1 have no close")
def test_a_client_that_is_closed_can_be_used_again(real, protocol):
    caller = Caller(protocol, real.ports[protocol])
    caller.post("/upper", items(1))
    assert caller.client.__dict__["_clientlet_cores"]
    caller.close()
    assert "_clientlet_cores" not in caller.client.__dict__
    assert len(caller.post("/upper", items(1))) == 1


def test_a_task_that_is_cancelled_ends_its_call(real, protocol):
    async def run():
        client = Client(protocol=protocol, port=real.ports[protocol], host="127.0.0.1", asyncio=True)

        async def post():
            async for _ in client.post("/slow", items(1), parameters={"seconds": 5}, **RETURN):
                pass

        task = asyncio.create_task(post())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_what_the_core_cannot_do_is_done_by_jinas_client_and_told_once(real, caplog):
    client = Client(port=real.ports["grpc"], host="127.0.0.1")
    with caplog.at_level(logging.WARNING, logger="clientlet.jina"):
        for _ in range(2):
            (response,) = client.post(
                "/upper", items(1), return_responses=True, compression="Deflate", **RETURN
            )
            assert type(response) is DataRequest
    told = [record.getMessage() for record in caplog.records if record.name == "clientlet.jina"]
    assert len(told) == 1 and "compression: 'Deflate'" in told[0] and "this is said once" in told[0]


@pytest.mark.skipif(IS_SEED, reason="clients of 3.14.1 have no such setting")
def test_options_of_channels_are_left_to_jinas_client(real):
    client = Client(port=real.ports["grpc"], host="127.0.0.1")
    client.args.grpc_channel_options = [("grpc.max_send_message_length", -1)]
    (response,) = client.post("/upper", items(1), return_responses=True, **RETURN)
    assert type(response) is DataRequest
    assert client.is_flow_ready()


class TestOptions:
    """Options that the core has are not left to jina's client."""

    @pytest.fixture
    def gateway(self):
        with clientlet.testing.Gateway(docarray="v2" if docarray_v2 else "v1") as gateway:
            yield gateway

    @pytest.fixture
    def client(self, gateway, protocol):
        url = gateway.urls[PROTOCOLS.index(protocol)]
        return Client(protocol=protocol, port=int(url.rsplit(":", 1)[1]), host="127.0.0.1")

    def test_headers_auth_cookies_and_metadata_are_sent(self, gateway, client, protocol):
        import aiohttp

        if protocol == "grpc":
            client.post("/upper", items(1), metadata=(("x-own", "a"),), **RETURN)
            assert gateway.journal[-1].headers["x-own"] == "a"
            return
        auth = aiohttp.BasicAuth("user", "word")
        client.post("/upper", items(1), headers={"X-Own": "a"}, auth=auth, cookies={"c": "1"}, **RETURN)
        headers = gateway.journal[-1].headers
        assert headers["x-own"] == "a"
        assert headers["authorization"] == auth.encode()
        assert headers["cookie"] == "c=1"

    def test_each_option_of_a_call_is_taken(self, gateway, client, protocol, caplog):
        options = {"compression": "Gzip"} if protocol == "grpc" else {}
        with caplog.at_level(logging.WARNING, logger="clientlet.jina"):
            answered = client.post(
                "/upper", items(6), request_size=2, prefetch=2, results_in_order=True, max_attempts=3,
                initial_backoff=0.01, max_backoff=0.02, backoff_multiplier=1.1, timeout=20,
                target_executor="ex.*", stream=False, parameters={"a": 1}, **options, **RETURN,
            )  # fmt: skip
        assert [item.text for item in answered] == [f"T{number}" for number in range(6)]
        assert len(gateway.journal) == 3
        assert gateway.journal[0].parameters["a"] == 1
        assert not [record for record in caplog.records if record.name == "clientlet.jina"]

    def test_time_runs_out(self, protocol):
        with clientlet.testing.Gateway(
            docarray="v2" if docarray_v2 else "v1", faults=["stall@100%"]
        ) as gateway:
            url = gateway.urls[PROTOCOLS.index(protocol)]
            client = Client(protocol=protocol, port=int(url.rsplit(":", 1)[1]), host="127.0.0.1")
            expected = ConnectionError if protocol == "grpc" else asyncio.TimeoutError
            with pytest.raises(expected):
                client.post("/upper", items(1), timeout=0.1, **RETURN)
