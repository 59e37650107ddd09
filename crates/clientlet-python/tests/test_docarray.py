"""Documents of DocArray, v1 or v2 as it is installed: they are equal to what DocArray's own codec makes."""

import pytest

import clientlet
from clientlet import Client
from clientlet.testing import Gateway

from conftest import echo, url_of

docarray = pytest.importorskip("docarray")
numpy = pytest.importorskip("numpy")

is_v1 = tuple(map(int, docarray.__version__.split(".")[:2])) < (0, 30)
v1 = pytest.mark.skipif(not is_v1, reason="DocArray v2 is installed")
v2 = pytest.mark.skipif(is_v1, reason="DocArray v1 is installed")


def post(docarray_version, protocol, documents, return_type):
    with Gateway({"/echo": echo}, docarray=docarray_version) as gateway:
        return Client(url_of(gateway, protocol)).post("/echo", documents, return_type=return_type)


def v1_documents():
    from docarray.score import NamedScore
    from docarray import Document, DocumentArray

    return DocumentArray([
        Document(id="1", text="hello", tags={"a": 1.5, "b": {"c": [True, None, "x"]}}, weight=0.5),
        Document(id="2", tensor=numpy.arange(6, dtype="f4").reshape(2, 3), embedding=numpy.ones(4)),
        Document(id="3", blob=b"\x00\x01", mime_type="image/png", uri="a.png"),
        Document(id="4", text="parent", chunks=[Document(id="5", text="chunk")],
                 matches=[Document(id="6", scores={"cos": NamedScore(value=0.25)})], location=[1.0, 2.0]),
        Document(id="7"),
    ])  # fmt: skip


@v1
def test_documents_v1_are_those_of_docarrays_codec(protocol):
    from docarray import DocumentArray

    documents = v1_documents()
    back = post("v1", protocol, documents, DocumentArray)
    assert isinstance(back, DocumentArray) and len(back) == 5
    expected = DocumentArray.from_protobuf(documents.to_protobuf())
    for one, other in zip(back, expected):
        assert one.id == other.id
        fields = set(one.non_empty_fields) | set(other.non_empty_fields)
        for field in fields - {"parent_id", "granularity", "adjacency"}:
            ours, theirs = getattr(one, field), getattr(other, field)
            if field in ("tensor", "embedding"):
                assert numpy.array_equal(ours, theirs), field
                if protocol != "http":
                    assert ours.dtype == theirs.dtype
            elif field in ("chunks", "matches"):
                assert [d.id for d in ours] == [d.id for d in theirs]
                assert [d.text for d in ours] == [d.text for d in theirs]
            else:
                assert ours == theirs, field
    # They work as documents do.
    back[0].text = "changed"
    back[0].tags["new"] = 1
    back.append(back[0])
    assert back[0].to_protobuf().text == "changed"


@v1
def test_a_document_v1_alone_is_an_input(protocol):
    from docarray import Document

    back = post("v1", protocol, Document(id="1", text="a"), Document)
    assert back[0].text == "a"


def v2_classes():
    from typing import Optional

    from docarray import BaseDoc
    from docarray.typing import NdArray

    class Plain(BaseDoc):
        text: str
        count: int = 0
        weight: Optional[float] = None
        embedding: Optional[NdArray] = None

    class Shaped(BaseDoc):
        embedding: NdArray[3]

    return Plain, Shaped


def nested_classes():
    from docarray import BaseDoc, DocList

    class Inner(BaseDoc):
        name: str

    try:

        class Outer(BaseDoc):
            inner: Inner
            many: DocList[Inner]

    except Exception as error:
        pytest.skip(f"this DocArray cannot nest lists of documents in this Python: {error}")
    return Inner, Outer


def check_v2(protocol, documents):
    back = post("v2", protocol, documents, type(documents))
    assert isinstance(back, type(documents)) and len(back) == len(documents)
    expected = type(documents).from_protobuf(documents.to_protobuf())
    for one, other in zip(back, expected):
        assert type(one) is type(other)
        for field in other.__dict__:
            ours, theirs = getattr(one, field), getattr(other, field)
            assert type(ours) is type(theirs), field
            if isinstance(theirs, numpy.ndarray):
                assert numpy.array_equal(ours, theirs), field
            else:
                assert ours == theirs, field
    # They work as documents do.
    back.append(back[0])
    assert type(documents).from_protobuf(back.to_protobuf()) is not None


@v2
def test_documents_v2_are_those_of_docarrays_codec(protocol):
    from docarray import DocList

    Plain, Shaped = v2_classes()
    full = Plain(text="b", count=3, weight=0.5, embedding=numpy.arange(4, dtype="f4"))
    check_v2(protocol, DocList[Plain]([Plain(text="a"), full]))
    check_v2(protocol, DocList[Shaped]([Shaped(embedding=numpy.arange(3.0))]))


@v2
@pytest.mark.parametrize("protocol", ["websocket", "grpc"])
def test_nested_documents_v2_are_those_of_docarrays_codec(protocol):
    from docarray import DocList

    Inner, Outer = nested_classes()
    many = DocList[Inner]([Inner(name="b"), Inner(name="c")])
    check_v2(protocol, DocList[Outer]([Outer(inner=Inner(name="a"), many=many)]))


@v2
def test_documents_v2_are_made_without_validation_only_where_it_changes_nothing():
    import pydantic
    from docarray import BaseDoc

    from clientlet._models import _plain_fields

    Plain, Shaped = v2_classes()
    assert set(_plain_fields(Plain)) == {"id", "text", "count", "weight", "embedding"}
    assert _plain_fields(Shaped) is None

    class Nested(BaseDoc):
        inner: Plain

    assert _plain_fields(Nested) is None

    class Bounded(BaseDoc):
        n: int = pydantic.Field(gt=0)

    class Checked(BaseDoc):
        text: str

        @pydantic.validator("text")
        def upper(cls, text):
            return text.upper()

    assert _plain_fields(Bounded) is None and _plain_fields(Checked) is None
    back = post("v2", "grpc", {"id": "1", "text": "a"}, Checked)
    assert back[0].text == "A"
    with pytest.raises(clientlet.DecodeError, match="document 0 .*n"):
        post("v2", "grpc", {"id": "1", "n": -1}, Bounded)
    with pytest.raises(clientlet.DecodeError, match="document 1 .*text"):
        post("v2", "grpc", [{"id": "1", "text": "a"}, {"id": "2"}], Checked)
    # A whole number on the wire is what the class says.
    back = post("v2", "grpc", {"id": "1", "text": "a", "count": 1, "weight": 2}, Plain)
    assert type(back[0].weight) is float


@v2
def test_a_collection_without_a_class_is_refused():
    from docarray import DocList

    with pytest.raises(TypeError, match="return_type"):
        post("v2", "grpc", {"id": "1"}, DocList)


@v2
def test_a_document_v2_whose_answer_has_other_types_or_aliases_is_for_its_class(protocol):
    import pydantic

    class Heavy(docarray.BaseDoc):
        weight: float

    class Named(docarray.BaseDoc):
        name: str = pydantic.Field("", alias="title")

    # A whole number is no float yet.
    assert type(post("v2", protocol, {"id": "1", "weight": 2}, Heavy)[0].weight) is float
    assert post("v2", protocol, Named(title="a"), Named)[0].name == "a"
