"""What cannot be sent, taken or made is an exception that names argument, document and field: never a panic, which
would be an `InternalError`, and never a hang."""

import asyncio
import collections
import dataclasses
import decimal
import fractions
import math
import re
import threading
import typing

import pytest

import clientlet
from clientlet import AsyncClient, Client, Retry
from clientlet.testing import Gateway

from conftest import echo, url_of

numpy = pytest.importorskip("numpy")

surrogate = "\ud800"


@pytest.fixture(scope="module")
def gateways():
    with Gateway({"/echo": echo}, journal=False) as v1, Gateway({"/echo": echo}, docarray="v2", journal=False) as v2:
        yield {"v1": v1, "v2": v2}


def refused(call, errors):
    with pytest.raises(errors) as raised:
        call()
    assert not isinstance(raised.value, clientlet.InternalError), raised.value
    text = str(raised.value)
    assert "\n" not in text and len(text) < 500, text
    return raised.value


# Arguments


def raises(*_):
    raise ArithmeticError("the argument raises")


class Raising:
    """Raises whatever is asked of it."""

    __iter__ = __len__ = __getitem__ = __float__ = __index__ = __str__ = __repr__ = __eq__ = raises
    __hash__ = object.__hash__


ARGUMENTS = [
    # The first is the argument's name, the last what the message has beside it.
    ("on", 7, "int"), ("on", None, "None"), ("on", surrogate, "surrogate"), ("on", b"/", "bytes"),
    ("inputs", "text", r'documents such as {"text": ...} are expected, not str'), ("inputs", b"bytes", "bytes"), ("inputs", 7, "int"), ("inputs", object(), "object"),
    ("inputs", print, "NoneType|None"), ("inputs", lambda: 7, "int"),
    ("columns", 7, "int"), ("columns", [1], "list"), ("columns", "text", "str"), ("columns", {7: [1]}, "int"),
    ("columns", {surrogate: [1]}, "surrogate"), ("columns", {"a": 7}, '"a"'), ("columns", {"a": "text"}, '"a"'),
    ("columns", {"a": numpy.array(1)}, '"a" has no rows'), ("columns", {"a": [1], "b": [1, 2]}, '"b"'),
    ("columns", {"a": numpy.array([[object()]])}, '"a"'),
    ("parameters", 7, "a number"), ("parameters", "text", "text"), ("parameters", [1], "list"),
    ("parameters", {"a": object()}, "a: .*object"), ("parameters", {"a": math.nan}, "NaN"),
    ("parameters", {"a": {"b": [2**60]}}, "a.b.*2.53"), ("parameters", {"a": surrogate}, "surrogate"),
    ("parameters", {surrogate: 1}, "surrogate"), ("parameters", {7: 1}, "int"),
    ("target_executor", 7, "int"), ("target_executor", surrogate, "surrogate"),
    ("request_size", "7", "str"), ("request_size", 2.5, "float"), ("request_size", 2**70, "large|big"),
    ("prefetch", "7", "str"), ("prefetch", -1, "negative"), ("prefetch", 2**70, "large|big"),
    ("prefetch_bytes", "7", "str"), ("prefetch_bytes", -1, "negative"),
    ("return_type", 7, "7"), ("return_type", "documents", "columns"), ("return_type", [dict], "class"),
    ("return_type", int, "class of a document.*int"), ("return_type", typing.List[Retry], "return_type=Retry"),
    ("on_done", 7, "int"), ("on_error", "print", "str"), ("on_always", [], "list"),
    ("max_attempts", "3", "str"), ("max_attempts", -1, "range"), ("max_attempts", 0, "0"),
    ("initial_backoff", -1, "-1"), ("initial_backoff", math.nan, "NaN|nan"), ("max_backoff", "1", "str"),
    ("backoff_multiplier", -1, "-1"), ("backoff_multiplier", math.nan, "NaN|nan"), ("backoff_multiplier", "2", "str"),
    ("retry", 7, "int"), ("retry", {"max_attempts": 3}, "dict"), ("retry", Retry(max_attempts=-1), "retry.max_attempts.*range"),
    ("retry", Retry(initial_backoff="x"), "retry.initial_backoff.*str"),
    ("timeout", "1", "str"), ("timeout", -1, "-1"), ("timeout", math.nan, "NaN|nan"),
    ("attempt_timeout", -0.5, "-0.5"), ("attempt_timeout", [], "list"), ("idle_timeout", "x", "str"),
    ("headers", 7, "int"), ("headers", {"a": 7}, "int"), ("headers", {7: "a"}, "int"), ("headers", ["a"], "a|pair"),
    ("headers", {"a": "b\nc"}, "a"), ("headers", {"a b": "c"}, "a b"), ("headers", {"a": surrogate}, "surrogate"),
    ("headers", {"content-length": "7"}, "content-length"), ("metadata", 7, "int"), ("metadata", {"a": 7}, "int"),
    ("show_progress", "bar", "str"), ("show_progress", 7, "int"),
    ("keep_documents", "x", "str"), ("in_order", "x", "str"),
    ("linger", -1, "-1"), ("linger", "x", "str"),
]  # fmt: skip


def _names(rows):
    return [f"{row[0]} {number}" for number, row in enumerate(rows)]


@pytest.mark.parametrize("name, value, said", ARGUMENTS, ids=_names(ARGUMENTS))
@pytest.mark.parametrize("way", ["waits", "awaits"])
def test_an_argument_that_cannot_be_used_is_named(gateways, way, name, value, said):
    options = {"on": "/echo"}
    if name != "columns":
        options["inputs"] = {"id": "1"}
    options[name] = value
    url = gateways["v2"].grpc_url

    async def awaited():
        await AsyncClient(url).post(options.pop("on"), **options)

    def call():
        asyncio.run(awaited()) if way == "awaits" else Client(url).post(options.pop("on"), **options)

    error = refused(call, (TypeError, ValueError))
    spoken = {"on": "on|endpoint", "metadata": "metadata|header", "headers": "header", "max_attempts": "retry.max_attempts|max_attempts"}.get(name, name)
    assert re.search(spoken, str(error)), f"{error} does not name {name}"
    assert re.search(said, str(error)), f"{error} does not say {said}"


@pytest.mark.parametrize("name", ["inputs", "parameters", "return_type", "headers", "columns", "timeout", "prefetch"])
def test_an_argument_that_raises_is_an_exception(gateways, name):
    options = {} if name == "columns" else {"inputs": {"id": "1"}}
    options[name] = Raising()
    refused(lambda: Client(gateways["v2"].url).post("/echo", **options), (TypeError, ValueError, ArithmeticError))


# Values in documents


class Broken:
    @property
    def __dict__(self):
        raise ArithmeticError("the object is broken")


@dataclasses.dataclass
class Book:
    title: str


def unfinished():
    book = Book("a")
    del book.title
    return book


class BrokenMapping(collections.abc.Mapping):
    __getitem__ = __iter__ = __len__ = raises


class BrokenList(collections.UserList):
    __iter__ = raises


class BrokenTensor:
    def __dlpack__(self, **_):
        raise BufferError("the tensor is on another device")

    def __dlpack_device__(self):
        return (2, 0)


def cyclic_dict():
    cyclic = {"id": "1"}
    cyclic["self"] = cyclic
    return cyclic


def cyclic_list():
    cyclic = []
    cyclic.append(cyclic)
    return cyclic


def deep(depth=200):
    value = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = [
    (object(), "object cannot be sent"), (print, "cannot be sent"), (Book, "cannot be sent"), (1j, "complex"),
    (Raising(), "cannot be sent|raises"), (raises, "function cannot be sent"), (math, "module cannot be sent"),
    ((n for n in range(3)), "generator cannot be sent"), (iter([]), "list_iterator cannot be sent"), ({1: 2}, "must be a str"),
    ({surrogate: 1}, "surrogate"), (surrogate, "surrogate"), (2**64, "64 bits"), (-(2**63) - 1, "64 bits"),
    (cyclic_dict(), "nested too deeply"), (cyclic_list(), "nested too deeply"), (deep(), "nested too deeply"),
    (Broken(), "cannot be sent|broken"), (unfinished(), "title"), (BrokenMapping(), "raises"),
    (BrokenList(), "raises"), (BrokenTensor(), "another device"), (NotImplemented, "cannot be sent"), (..., "cannot be sent"),
    (numpy.array([object()]), "array of object"), (numpy.array(["a"]), "array of <U1"),
    (numpy.array([b"a"]), r"array of \|S1"), (numpy.array([1j]), "array of complex128"),
    (numpy.array(["2026"], dtype="M8[D]"), "datetime64"), (numpy.zeros(2, dtype="i4,f4"), "array of .*i4"),
    (numpy.longdouble(1.5), "numpy.longdouble cannot be sent"), (fractions.Fraction(1, 2), "Fraction cannot be sent"), (numpy.zeros(2, dtype=numpy.longdouble), "float128|longdouble"),
    (numpy.array(object(), dtype=object), "object"), (numpy.array([[object()]])[:, ::2], "array of object"),
    (memoryview(b"abc").cast("c"), "sent"), (decimal, "module cannot be sent"),
]  # fmt: skip


@pytest.mark.parametrize("value, said", VALUES, ids=[str(number) for number in range(len(VALUES))])
@pytest.mark.parametrize("docarray", ["v1", "v2"])
def test_a_value_that_cannot_be_sent_is_named_with_document_and_field(gateways, docarray, protocol, value, said):
    outer = {"tags": {"inner": [value]}} if docarray == "v1" else {"outer": {"inner": [value]}}
    documents = [{"id": "0"}, {"id": "1", **outer}, {"id": "2"}]
    client = Client(url_of(gateways[docarray], protocol))
    error = refused(lambda: client.post("/echo", documents), clientlet.EncodeError)
    assert re.search(said, str(error)), error
    assert "tags.inner" in str(error) or "outer.inner" in str(error), error
    assert error.input == range(1, 2) and (error.delivery, error.may_have_run) == ("not_sent", False)
    assert error.input.start == 1 and "document 1" in str(error)
    # The client works on.
    assert client.post("/echo", {"id": "1"})


TAKEN = [
    (numpy.arange(24, dtype="f4").reshape(4, 6)[:, ::2], None), (numpy.arange(6, dtype="f4")[::-1], None),
    (numpy.asfortranarray(numpy.ones((2, 3))), None), (numpy.arange(3, dtype=">f8"), None),
    (numpy.arange(6, dtype=">i4").reshape(2, 3).T, None), (numpy.array(1.5), None), (numpy.zeros((0,)), None),
    (numpy.zeros((2, 0, 3)), None), (numpy.broadcast_to(numpy.float32(1), (3, 4)), None),
    (numpy.array([True, False]), None), (numpy.zeros((), dtype=">i2"), None), (2**31 - 1, 2**31 - 1),
    (-(2**31), -(2**31)), (decimal.Decimal("1.5"), "1.5"), ("\0", "\0"), (numpy.int64(7), 7), (numpy.float16(0.5), 0.5), ("", ""), ({}, {}), ([], []),
]  # fmt: skip


@pytest.mark.parametrize("value, expected", TAKEN, ids=[str(number) for number in range(len(TAKEN))])
def test_a_value_at_the_edge_is_sent(gateways, protocol, value, expected):
    client = Client(url_of(gateways["v2"], protocol))
    if protocol == "http" and isinstance(value, numpy.ndarray) and value.ndim == 0:
        error = refused(lambda: client.post("/echo", {"id": "1", "e": value}), clientlet.EncodeError)
        assert "e: a tensor without dimensions cannot be sent as JSON" in str(error)
        return
    back = client.post("/echo", {"id": "1", "e": value})[0]["e"]
    if isinstance(value, numpy.ndarray):
        back = numpy.asarray(back)
        assert numpy.array_equal(back.reshape(value.shape), value)
    else:
        assert back == expected


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**63, 2**64 - 1, [2**31]])
def test_an_integer_beyond_the_wire_of_documents_v2_is_named(gateways, protocol, value):
    client = Client(url_of(gateways["v2"], protocol))
    error = refused(lambda: client.post("/echo", [{"id": "0"}, {"id": "1", "e": value}]), clientlet.EncodeError)
    assert "32 bits" in str(error) and "e" in str(error) and "document 1" in str(error)
    if protocol == "http":
        return
    # An array holds it. In JSON it is a list, of which the embedded gateway does not know that it is an array.
    array = numpy.array([2**63 - 1])
    assert numpy.array_equal(client.post("/echo", {"id": "1", "e": array})[0]["e"], array)


def test_names_in_a_message_are_shortened_and_on_one_line(gateways, protocol):
    client = Client(url_of(gateways["v2"], protocol))
    error = refused(lambda: client.post("/echo", {"a\nb": {"c" * 100_000: object()}}), clientlet.EncodeError)
    assert "c" * 50 in str(error)


FIELDS_V1 = [
    ({"nope": 1}, "nope"), ({"text": ["a"]}, "text"), ({"embedding": "text"}, "embedding"),
    ({"tags": [1]}, "tags"), ({"tags": {"a": object()}}, "tags.a"), ({"chunks": {"id": "2"}}, "chunks"),
    ({"chunks": [7]}, "chunks"), ({"chunks": [{"id": "2", "nope": 1}]}, "chunks.*nope"), ({"blob": 7}, "blob"),
    ({"weight": "x"}, "weight"), ({"scores": {"a": "b"}}, "scores"),
    ({"embedding": numpy.array([object()])}, "embedding"), ({"location": "x"}, "location"),
    ({"matches": [{"text": surrogate}]}, "matches.*text"),
]  # fmt: skip


@pytest.mark.parametrize("fields, said", FIELDS_V1, ids=_names([tuple(row[0]) for row in FIELDS_V1]))
def test_a_field_that_documents_v1_do_not_have_so_is_named(gateways, protocol, fields, said):
    client = Client(url_of(gateways["v1"], protocol))
    error = refused(lambda: client.post("/echo", [{"id": "0"}, {"id": "1", **fields}]), clientlet.EncodeError)
    assert re.search(said, str(error)) and error.input == range(1, 2) and "document 1" in str(error), error


@pytest.mark.parametrize("document", [7, None, "text", b"bytes", [{"id": "1"}], object(), 1.5, numpy.zeros(3), {1}, Book])
@pytest.mark.parametrize("docarray", ["v1", "v2"])
def test_what_is_no_document_is_named(gateways, docarray, protocol, document):
    client = Client(url_of(gateways[docarray], protocol))
    error = refused(lambda: client.post("/echo", [{"id": "0"}, document]), (clientlet.EncodeError,))
    assert error.input == range(1, 2) and "document 1" in str(error), error


def test_nan_is_refused_where_json_has_none_and_sent_elsewhere(gateways, protocol):
    for value in (math.nan, math.inf, numpy.array([1, -math.inf]), numpy.float32("nan"), [[math.nan]]):
        client = Client(url_of(gateways["v2"], protocol))
        documents = [{"id": "0"}, {"id": "1", "e": value}]
        if protocol == "http":
            error = refused(lambda: client.post("/echo", documents), clientlet.EncodeError)
            assert "document 1" in str(error) and str(error).startswith("e") and error.input == range(1, 2)
        else:
            back = client.post("/echo", documents)[1]["e"]
            assert numpy.array_equal(numpy.asarray(back), numpy.asarray(value), equal_nan=True)


# Answers


@dataclasses.dataclass
class Small:
    id: str
    title: str


def _models():
    yield "dataclass", Small
    try:
        import attrs

        yield "attrs", attrs.make_class("Small", ["id", "title"])
    except ImportError:
        pass
    try:
        import msgspec

        yield "msgspec", msgspec.defstruct("Small", [("id", str), ("title", str)], forbid_unknown_fields=True)
    except ImportError:
        pass
    try:
        import pydantic
    except ImportError:
        return
    if pydantic.VERSION.startswith("1."):
        yield "pydantic", pydantic.create_model("Small", id=(str, ...), title=(str, ...),
                                                __config__=type("Config", (), {"extra": "forbid"}))  # fmt: skip
    else:
        yield "pydantic", pydantic.create_model("Small", id=(str, ...), title=(str, ...),
                                                __config__={"extra": "forbid"})  # fmt: skip


MODELS = dict(_models())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", ["waits", "awaits"])
def test_a_model_that_lacks_fields_of_the_answer_is_named_with_document_and_field(gateways, protocol, model, way):
    of = MODELS[model]
    url = url_of(gateways["v2"], protocol)

    def post(documents):
        if way == "waits":
            return Client(url).post("/echo", documents, return_type=of)
        return asyncio.run(_post(url, documents, of))

    fits = {"id": "0", "title": "a"}
    for second, field in [({"id": "1", "title": "b", "pages": 3}, "pages"), ({"id": "1"}, "title")]:
        error = refused(lambda: post([fits, second]), clientlet.DecodeError)
        assert "document 1 of the answer" in str(error) and field in str(error), error
        assert (error.delivery, error.may_have_run) == ("answered", True) and error.__cause__ is not None
    assert post([fits])[0].title == "a"


async def _post(url, documents, of):
    return await AsyncClient(url).post("/echo", documents, return_type=of)


def test_an_answer_that_does_not_fit_is_told_with_its_request(gateways):
    documents = [{"id": str(number), "title": "a"} for number in range(5)] + [{"id": "5"}]
    client = Client(gateways["v2"].grpc_url)
    with pytest.raises(clientlet.DecodeError, match="document 1 of the answer") as raised:
        client.post("/echo", documents, request_size=2, return_type=Small)
    assert raised.value.input == range(4, 6) and raised.value.request_id


# Streams


def test_a_second_reader_of_a_stream_is_refused(gateways):
    with Gateway() as gateway:
        stream = Client(gateway.url).post("/slow", {"text": "a"}, parameters={"seconds": 0.5}, stream=True)
        read = []
        first = threading.Thread(target=lambda: read.append(next(stream)))
        first.start()
        while not gateway.journal:
            pass
        for use in (lambda: next(stream), stream.stop):
            with pytest.raises(RuntimeError, match="another task or thread is reading this stream"):
                use()
        first.join()
        assert read[0].docs[0]["text"] == "a" and list(stream) == []


def test_a_generator_that_reads_its_own_stream_is_refused(gateways):
    def documents():
        yield {"id": "0"}
        next(stream)

    stream = Client(gateways["v2"].url).post("/echo", documents(), request_size=1, stream=True)
    results = []
    with pytest.raises(clientlet.InputError) as raised:
        results.extend(stream)
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_a_client_that_is_closed_is_named(gateways, protocol):
    client = Client(url_of(gateways["v2"], protocol))
    client.close()
    for call in (
        lambda: client.post("/echo", {"id": "1"}), client.ready, client.status, client.endpoints, client.statistics,
        lambda: client.stream_doc("/stream", {"id": "1"}), lambda: client.wait_ready(1),
    ):  # fmt: skip
        error = refused(call, clientlet.ClosedError)
        assert "is closed" in str(error) and "127.0.0.1" in str(error)
    assert client.is_flow_ready() is False

    async def awaited():
        closed = AsyncClient(url_of(gateways["v2"], protocol))
        await closed.close()
        with pytest.raises(clientlet.ClosedError):
            await closed.post("/echo", {"id": "1"})
        with pytest.raises(clientlet.ClosedError):
            await closed.ready()

    asyncio.run(awaited())


# Settings of clients, and arguments of the other calls

SETTINGS = [
    ("headers", 7, "int"), ("headers", {"a": 7}, "int"), ("headers", {"a b": "c"}, "a b"), ("headers", "a", "str"),
    ("basic_auth", "me", "str|tuple"), ("basic_auth", ("me",), "tuple"), ("basic_auth", ("me", 7), "int"),
    ("bearer_token", 7, "int"), ("bearer_token", "a\nb", "control|token"), ("cookies", 7, "int"),
    ("cookies", {"a": 7}, "int"), ("cookies", {"a;b": "c"}, "a;b"), ("cookie_jar", "x", "str"), ("port", "80", "str"),
    ("port", 70_000, "range"), ("port", -1, "range|negative"), ("retry", 3, "int"), ("retry", Retry(max_attempts=0), "0"),
    ("retry", Retry(backoff_multiplier=math.inf), "inf"), ("connect_timeout", "x", "str"), ("connect_timeout", -1, "-1"),
    ("attempt_timeout", math.nan, "NaN|nan"), ("idle_timeout", [], "list"), ("channels", "x", "str"),
    ("channels", -1, "negative"), ("channels", 0, "0|1"), ("max_connections", 1.5, "float"), ("max_connections", 0, "0|1"),
    ("answer_limit", "1k", "str"), ("answer_limit", 2**70, "big"), ("docarray", "v3", "v3"), ("docarray", 2, "int"),
    ("unary", "x", "str"), ("gzip", 1, "int"), ("compression", "x", "str"), ("websocket_json", "x", "str"),
    ("proxy", 7, "int"), ("proxy", "ftp://a", "ftp"), ("proxy", "not a url", "url|URL"), ("no_proxy", 7, "int"),
    ("no_proxy", ["a"], "list"), ("proxy_from_env", "x", "str"), ("tls", "ca.pem", "str"), ("tls", {"ca": "x"}, "dict"),
    ("before_attempt", "f", "str"), ("retries", 3, "has no setting 'retries'.*retry=Retry"),
    ("protocol", "grpc", "URL"), ("attempt_timout", 1, "perhaps attempt_timeout"),
]  # fmt: skip


@pytest.mark.parametrize("of", [Client, AsyncClient])
@pytest.mark.parametrize("name, value, said", SETTINGS, ids=_names(SETTINGS))
def test_a_setting_that_cannot_be_used_is_named(of, name, value, said):
    error = refused(lambda: of("http://127.0.0.1:1", **{name: value}), (TypeError, ValueError))
    spoken = {
        "headers": "header", "cookies": "cookie", "basic_auth": "basic_auth|basic",
        "bearer_token": "bearer|token|authorization", "retry": "retry|max_attempts|multiplier",
    }.get(name, name)  # fmt: skip
    assert re.search(spoken, str(error)), f"{error} does not name {name}"
    assert re.search(said, str(error)), f"{error} does not say {said}"


UNKNOWN_TO_POST = [
    ("return_responses", "stream=True"), ("results_in_order", "in_order=False"), ("compression", "gzip=True"),
    ("credentials", r"tls=Tls\(.*bearer_token"), ("docs", "inputs"), ("exec_endpoint", "on"),
    ("request_sise", "perhaps request_size"), ("retun_type", "perhaps return_type"), ("bearer_token", "setting of the client"),
    ("nope" * 3, "no argument 'nopenopenope'$"),
]  # fmt: skip


@pytest.mark.parametrize("of", [Client, AsyncClient])
@pytest.mark.parametrize("name, said", UNKNOWN_TO_POST, ids=_names(UNKNOWN_TO_POST))
def test_an_argument_that_post_does_not_have_is_named_with_what_to_use(of, name, said):
    error = refused(lambda: of("http://127.0.0.1:1").post("/", {"id": "1"}, **{name: True}), TypeError)
    assert re.search(f"post has no argument '{name}'", str(error)) and re.search(said, str(error)), error


@pytest.mark.parametrize("of", [Client, AsyncClient])
@pytest.mark.parametrize("given", [{}, {"host": "localhost", "port": 54321, "protocol": "http"}])
def test_a_client_without_a_url_says_what_to_write(of, given):
    error = refused(lambda: of(**given), TypeError)
    assert f'{of.__name__}("grpc://HOST:PORT")' in str(error) and "__init__" not in str(error), error


@pytest.mark.parametrize("url", [
    7, None, b"http://localhost", "", "localhost", "ftp://x", "http://", "http://x:99999", "http://a b", surrogate,
])  # fmt: skip
def test_a_url_that_cannot_be_used_is_named(url):
    is_text = isinstance(url, str) and url != surrogate
    error = refused(lambda: Client(url), clientlet.ConfigError if is_text else (TypeError, ValueError))
    assert re.search("url|URL|address|scheme|host|port", str(error)), error


@pytest.mark.parametrize("handlers, faults, said", [
    ({"/a": 7}, [], "/a.*int"), ({"/a": _post}, [], "/a.*async"), ({}, "status:503@1", r"faults: .*\['status:503@1'\]"),
])  # fmt: skip
def test_a_gateway_for_tests_names_what_it_cannot_use(handlers, faults, said):
    error = refused(lambda: Gateway(handlers, faults=faults), TypeError)
    assert re.search(said, str(error)), error


def test_arguments_of_the_other_calls_are_named(gateways):
    client = Client(gateways["v2"].grpc_url)
    for call, name in [
        (lambda: client.wait_ready("x"), "timeout"), (lambda: client.wait_ready(-1), "timeout"),
        (lambda: client.wait_ready(None), "timeout"), (lambda: client.health(7), "service"),
        (lambda: client.health(surrogate), "service"), (lambda: client.stream_doc(7, {}), "on"),
        (lambda: client.stream_doc("/stream", {}, timeout=-1), "timeout"),
        (lambda: client.stream_doc("/stream", {}, return_type=7), "return_type"),
        (lambda: list(client.stream_doc("/stream", {"a": object()})), "a: "),
        (lambda: list(client.stream_doc("/stream", [])), "document"),
        (lambda: list(client.stream_doc("/stream", {}, parameters=7)), "parameters"),
    ]:  # fmt: skip
        error = refused(call, (TypeError, ValueError))
        assert name in str(error), f"{error} does not name {name}"
