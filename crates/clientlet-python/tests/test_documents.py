"""Documents of many classes, and arrays."""

import array
import dataclasses
import datetime
import enum
import gc
import json
import math
import pathlib
import sys
import uuid

import pytest

import clientlet
from clientlet import Client
from clientlet.testing import Gateway

from conftest import echo, url_of

numpy = pytest.importorskip("numpy")


def there_and_back(url, document, **options):
    return Client(url).post("/echo", document, **options)[0]


def test_values_of_a_dict_come_back(v2_url):
    document = {
        "id": "1", "text": "käse \U0001f600", "none": None, "yes": True, "n": -7, "big": 2**31 - 1, "x": 0.1,
        "list": [1, "two", [3.5]], "deep": {"a": {"b": [None, False]}},
    }  # fmt: skip
    assert there_and_back(v2_url, document) == document


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    pass


@pytest.mark.parametrize("value, expected", [
    (numpy.float32(0.5), 0.5), (numpy.float64(0.1), 0.1), (numpy.int16(-3), -3), (numpy.bool_(True), True),
    (numpy.str_("a"), "a"), (Text("a"), "a"), (Colour.RED, "red"), ((1, 2), [1, 2]), ({3}, [3]),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"), (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (datetime.date(2026, 11, 28), "2026-11-28"), (range(3), [0, 1, 2]),
])  # fmt: skip
def test_a_value_of_another_class_is_sent_as_what_it_stands_for(v2_url, value, expected):
    assert there_and_back(v2_url, {"id": "1", "value": value})["value"] == expected


def test_bytes_are_bytes(v2, protocol):
    for blob in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        back = there_and_back(url_of(v2, protocol), {"id": "1", "blob": blob})["blob"]
        # JSON of documents v2 has no bytes.
        assert back == ("abc" if protocol == "http" else b"abc")


DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 0), (0,), (1, 2, 3)])
def test_an_array_comes_back_as_an_array(v2, protocol, dtype, shape):
    sent = (numpy.arange(math.prod(shape)) % 2).astype(dtype).reshape(shape)
    back = there_and_back(url_of(v2, protocol), {"id": "1", "e": sent})["e"]
    if protocol == "http":
        # JSON has neither element types nor dimensions behind an empty one.
        assert numpy.array_equal(numpy.asarray(back, dtype=dtype).reshape(shape), sent)
    else:
        assert back.dtype == sent.dtype and back.shape == sent.shape and numpy.array_equal(back, sent)


@pytest.mark.parametrize("make", [
    lambda a: numpy.asfortranarray(a), lambda a: a[:, ::2], lambda a: a[::-1], lambda a: a.T,
    lambda a: a.astype(">f4"), lambda a: a.astype(">f4")[:, ::2],
])  # fmt: skip
def test_an_array_in_any_order_of_bytes_is_sent(v2, make):
    sent = make(numpy.arange(24, dtype="f4").reshape(4, 6))
    back = there_and_back(v2.grpc_url, {"id": "1", "e": sent})["e"]
    assert numpy.array_equal(back, sent)


def test_other_buffers_are_arrays(v2):
    for sent in (array.array("f", [1, 2]), memoryview(array.array("d", [1, 2]))):
        back = there_and_back(v2.grpc_url, {"id": "1", "e": sent})["e"]
        assert back.tolist() == [1, 2]


class Dlpack:
    """A tensor of another library."""

    def __init__(self, values):
        self._values = values

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


def test_tensors_of_other_libraries_are_arrays(v2):
    sent = numpy.arange(6, dtype="f4").reshape(2, 3)
    back = there_and_back(v2.grpc_url, {"id": "1", "e": Dlpack(sent)})["e"]
    assert numpy.array_equal(back, sent)


def test_large_arrays_share_the_answers_memory_and_are_read_only(v2):
    sent = [{"id": str(n), "e": numpy.full(1000, n, dtype="f4")} for n in range(3)]
    back = Client(v2.grpc_url).post("/echo", sent)
    arrays = [document["e"] for document in back]
    assert all(not one.flags.writeable and not one.flags.owndata for one in arrays)
    with pytest.raises(ValueError):
        arrays[0][0] = 1
    del back
    gc.collect()
    assert [one[999] for one in arrays] == [0, 1, 2]


@dataclasses.dataclass
class Book:
    id: str
    title: str
    pages: int
    vector: object = None


def test_dataclasses_go_out_and_come_back(v2_url):
    book = Book("1", "Emma", 474, numpy.arange(3, dtype="f4"))
    back = there_and_back(v2_url, book, return_type=Book)
    assert isinstance(back, Book) and (back.title, back.pages) == ("Emma", 474)
    assert numpy.array_equal(back.vector, book.vector)


def test_attrs_classes_go_out_and_come_back(v2_url):
    attrs = pytest.importorskip("attrs")
    Point = attrs.make_class("Point", ["id", "x", "_y"])
    back = there_and_back(v2_url, {"id": "1", "x": 2, "y": 3}, return_type=Point)
    assert (back.x, back._y) == (2, 3)
    assert there_and_back(v2_url, attrs.make_class("Plain", ["id", "x"])("1", 2)) == {"id": "1", "x": 2}


def test_msgspec_structs_go_out_and_come_back(v2_url):
    msgspec = pytest.importorskip("msgspec")
    Inner = msgspec.defstruct("Inner", [("a", int)])
    Outer = msgspec.defstruct("Outer", [("title", str), ("inner", Inner)], rename="camel")
    back = there_and_back(v2_url, Outer("Emma", Inner(7)), return_type=Outer)
    assert back == Outer("Emma", Inner(7))


def test_pydantic_models_go_out_and_come_back(v2_url):
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):
        a: int

    class Outer(pydantic.BaseModel):
        id: str
        inner: Inner

    sent = Outer(id="1", inner=Inner(a=7))
    assert there_and_back(v2_url, sent, return_type=Outer) == sent


def test_a_class_that_does_not_fit_is_named(v2_url):
    @dataclasses.dataclass
    class Small:
        title: str

    with pytest.raises(clientlet.DecodeError, match="document 1 .*pages"):
        Client(v2_url).post("/echo", [{"title": "a"}, {"title": "b", "pages": 3}], return_type=Small)
    assert there_and_back(v2_url, {"title": "a"}, return_type=Small) == Small("a")
    with pytest.raises(TypeError, match="return_type"):
        there_and_back(v2_url, {"title": "a"}, return_type=7)


def test_columns_go_out_and_come_back(v2, protocol):
    n = 250
    vectors = numpy.arange(n * 8, dtype="f4").reshape(n, 8)
    ids = [str(number) for number in range(n)]
    columns = {"id": ids, "e": vectors, "n": numpy.arange(n), "x": [0.5] * n, "t": numpy.array(["a"] * n)}
    client = Client(url_of(v2, protocol))
    back = client.post("/echo", columns=columns, request_size=100)
    assert list(back["id"]) == ids and back["t"] == ["a"] * n
    assert numpy.array_equal(back["e"], vectors) and back["e"].shape == (n, 8)
    assert back["n"].dtype.kind == "i" and numpy.array_equal(back["n"], numpy.arange(n))
    assert numpy.array_equal(back["x"], numpy.full(n, 0.5))
    if protocol != "http":
        assert back["e"].dtype == "f4"
    documents = client.post("/echo", columns=columns, return_type=dict)
    assert documents[3]["id"] == "3" and numpy.array_equal(documents[3]["e"], vectors[3])
    again = client.post("/echo", documents, return_type="columns")
    assert numpy.array_equal(again["e"], vectors)


def test_columns_with_gaps_have_none(v2_url):
    client = Client(v2_url)
    back = client.post("/echo", [{"id": "0", "a": 1}, {"id": "1", "b": [1, 2]}, {"id": "2", "a": 3}],
                       return_type="columns")  # fmt: skip
    assert list(back["a"]) == [1, None, 3] and back["b"][0] is None and list(back["b"][1]) == [1, 2]
    assert len(back["b"]) == 3
    assert client.post("/echo", columns={"id": []}) == {}


@pytest.mark.parametrize("values, dtype", [
    ([1, 2], "int64"), ([1, 2.5], "float64"), ([0.5, 2], "float64"),
    ([[1, 2], [3, 4]], "int64"), ([[0.5], [2.5]], "float64"), ([n / 8 for n in range(200)], "float64"),
    ([1, 2, *(n / 64 for n in range(1, 500, 2)), 3, 0.25, 1e300, -0.5], "float64"),
    ([[n / 64, -n / 512] for n in range(1, 500, 2)], "float64"),
])  # fmt: skip
def test_lists_of_numbers_are_read_as_arrays_of_one_type(v2, values, dtype):
    client = Client(url_of(v2, "http"))
    document = {"id": "1", "title": "", "v": values}
    column = client.post("/echo", [document] * 2, return_type="columns")["v"]
    assert column.dtype == dtype and column.tolist() == [values] * 2


@pytest.mark.parametrize("values", [
    [1.5, "a", None, True, {"a": 1}], [1, 2, "a"], [None, 1.5], [[1.5], "a"], [],
    [n / 64 for n in range(1, 200, 2)] + ["a"] + [n / 64 for n in range(1, 200, 2)],
])  # fmt: skip
def test_lists_of_different_things_stay_lists(v2, values):
    client = Client(url_of(v2, "http"))
    document = {"id": "1", "title": "", "v": values}
    (back,) = client.post("/echo", document, return_type="columns")["v"]
    assert isinstance(back, list) and repr(back) == repr(values).replace("[[1.5]", "[array([1.5])")


@pytest.mark.parametrize("columns, said", [
    ({"id": ["1"], "e": numpy.zeros((2, 3))}, '"id" has 1 rows, "e" has 2'),
    ({"e": numpy.array(1.0)}, '"e" has no rows'), ({"e": "text"}, '"e" is no list'),
    ({"e": numpy.array([[object()]])}, '"e": an array of object'),
])  # fmt: skip
def test_columns_that_are_none_are_named(v2, columns, said):
    with pytest.raises((ValueError, TypeError), match=said):
        Client(v2.url).post("/echo", columns=columns)


def test_documents_v1_are_alike_on_all_protocols():
    document = {
        "id": "1", "tags": {"a": 1.5, "t": [None, "x"]}, "embedding": numpy.arange(3.0), "blob": b"\x00\xff",
        "chunks": [{"id": "2", "tensor": numpy.ones((2, 2)), "modality": "chunk"}],
    }  # fmt: skip
    with Gateway({"/echo": echo}) as gateway:
        for url in gateway.urls:
            back = there_and_back(url, document)
            assert back["blob"] == b"\x00\xff" and numpy.array_equal(back["embedding"], [0, 1, 2])
            assert back["tags"] == document["tags"]
            chunk = back["chunks"][0]
            assert chunk["modality"] == "chunk" and numpy.array_equal(chunk["tensor"], numpy.ones((2, 2)))


def test_numpy_is_not_needed(v2):
    import subprocess

    code = """
import sys, array
sys.modules["numpy"] = None
import clientlet
sent = {"id": "1", "e": array.array("f", [1, 2, 3]), "big": memoryview(bytes(4096)).cast("d")}
back = clientlet.Client(sys.argv[1]).post("/echo", sent)[0]
assert back["e"].tolist() == [1, 2, 3] and back["e"].readonly, back
assert back["big"].format == "d" and len(back["big"]) == 512
"""
    subprocess.run([sys.executable, "-c", code, v2.grpc_url], check=True)


def test_an_answer_can_be_read_twice(v2):
    response = next(Client(v2.url).post("/echo", {"id": "1", "a": 1}, stream=True))
    assert response.docs == response.docs == [{"id": "1", "a": 1}]
    assert json.dumps(response.docs)


class Changes:
    """A value that changes a collection while it is written."""

    def __init__(self, change):
        self._change = change

    def isoformat(self):
        self._change()
        return "2026-11-29"


def _replace(tags):
    for name in ("b", "c"):
        tags[f"new {tags.pop(name)}"] = 0


@pytest.mark.parametrize("change", [
    lambda tags: tags.update(new=1), lambda tags: tags.pop("b"), lambda tags: tags.clear(), _replace,
])  # fmt: skip
def test_a_dict_that_changes_while_it_is_written_is_an_error_or_what_it_was(v2_url, change):
    tags = {"b": 1, "c": 2}
    tags = {"a": Changes(lambda: change(tags)), **tags}
    try:
        there_and_back(v2_url, {"id": "1", "tags": tags})
    except clientlet.EncodeError as error:
        assert "tags: RuntimeError: the dict was changed while it was read" in str(error)
    else:
        assert change is _replace


def test_an_array_with_masked_elements_is_refused(v2_url):
    masked = numpy.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [0, 1]])
    with pytest.raises(clientlet.EncodeError, match="e: an array with masked elements"):
        there_and_back(v2_url, {"id": "1", "e": masked})
    with pytest.raises(TypeError, match='columns: "e": an array with masked elements'):
        Client(v2_url).post("/echo", columns={"e": masked})
    # None of these is masked; and a row of its own is None where it is.
    assert there_and_back(v2_url, {"id": "1", "e": masked[:1]})["e"].tolist() == [[1.0, 2.0]]
    assert Client(v2_url).post("/echo", columns={"n": masked[1]})["n"] == [3.0, None]


@pytest.mark.parametrize("unit, text", [("D", "2026-11-29"), ("s", "2026-11-29T00:00:00"),
                                        ("ns", "2026-11-29T00:00:00.000000000")])  # fmt: skip
def test_times_of_numpy_are_text(v2_url, unit, text):
    times = numpy.array(["2026-11-29"], f"M8[{unit}]")
    assert there_and_back(v2_url, {"id": "1", "time": times[0]})["time"] == text
    assert Client(v2_url).post("/echo", columns={"time": times})["time"] == [text]


def test_a_memoryview_of_numbers_is_an_array_on_each_protocol(v2_url):
    view = memoryview(array.array("d", [1, 2, 3, 4]))
    assert there_and_back(v2_url, {"id": "1", "e": view})["e"].dtype == numpy.float64
    rows = memoryview(numpy.arange(4.0).reshape(2, 2))
    assert Client(v2_url).post("/echo", columns={"e": rows})["e"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_a_union_of_structs_of_msgspec_comes_back(v2_url):
    msgspec = pytest.importorskip("msgspec")
    cat = msgspec.defstruct("cat", [("lives", int)], tag=True)
    dog = msgspec.defstruct("dog", [("lives", int), ("owner", str | msgspec.UnsetType, msgspec.UNSET)], tag=True)
    zoo = msgspec.defstruct("Zoo", [("id", str), ("first", cat | dog), ("second", cat | dog)])
    sent = zoo("1", dog(1), cat(9))
    back = Client(v2_url).post("/echo", sent, return_type=zoo)[0]
    assert (type(back.first), type(back.second)) == (dog, cat)
    assert back.first.owner is msgspec.UNSET


def test_an_attrs_class_with_private_and_late_fields_comes_back(v2_url):
    attrs = pytest.importorskip("attrs")
    late = attrs.field(init=False, default=0)
    of = attrs.make_class("Own", {"id": attrs.field(), "_weight": attrs.field(), "late": late}, frozen=True)
    sent = of(id="1", weight=2.5)
    object.__setattr__(sent, "late", 7)
    assert Client(v2_url).post("/echo", sent, return_type=of) == [sent]


@dataclasses.dataclass
class Late:
    id: str
    late: int = dataclasses.field(init=False, default=0)


def test_a_dataclass_with_late_fields_comes_back(v2_url):
    sent = Late("1")
    sent.late = 7
    assert Client(v2_url).post("/echo", sent, return_type=Late) == [sent]


@pytest.mark.parametrize("base", ["pydantic", "docarray"])
def test_a_field_that_pydantic_leaves_out_is_not_sent(base, v2_url):
    pydantic = pytest.importorskip("pydantic")
    of = pydantic.BaseModel if base == "pydantic" else getattr(pytest.importorskip("docarray"), "BaseDoc", None)
    if of is None:
        pytest.skip("DocArray v1 has no models")

    class Account(of):
        text: str
        token: str = pydantic.Field("secret", exclude=True)

    answer = Client(v2_url).post("/echo", Account(text="a"))[0]
    assert answer["text"] == "a" and "token" not in answer


def test_a_pydantic_model_with_aliases_and_extra_fields_comes_back(v2_url):
    pydantic = pytest.importorskip("pydantic")
    if pydantic.VERSION.startswith("1."):
        pytest.skip("pydantic 1 keeps extra fields among the others")

    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        id: str
        text: str = pydantic.Field("", alias="body")

    sent = Open(id="1", body="a", more={"x": 1})
    assert Client(v2_url).post("/echo", sent)[0] == {"id": "1", "text": "a", "more": {"x": 1}}
    assert Client(v2_url).post("/echo", sent, return_type=Open) == [sent]
