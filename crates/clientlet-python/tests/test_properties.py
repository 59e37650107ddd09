"""Arbitrary documents go out and come back as what DocArray's own codec makes of them, and arbitrary dicts as they
are. The examples are the same in each run."""

import math
import typing

import pytest

from clientlet import Client
from clientlet.testing import Gateway

from conftest import PROTOCOLS, echo, url_of

numpy = pytest.importorskip("numpy")
pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, Phase, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

# What pydantic 2 says of the methods that DocArray uses.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::UserWarning")]

# No deadline: a busy machine is slow. No database: runs do not depend on earlier ones. An example that fails is told
# as it is: to look for smaller ones takes minutes.
repeatable = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(scope="module")
def gateways():
    with Gateway({"/echo": echo}, journal=False) as v1, Gateway({"/echo": echo}, docarray="v2", journal=False) as v2:
        yield {"v1": v1, "v2": v2}


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request):
    return request.param


def client_of(gateways, docarray, protocol):
    return Client(url_of(gateways[docarray], protocol))


# Text without halves of surrogate pairs, which are refused.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
integers = st.integers(-(2**31), 2**31 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | integers | finite | texts


def values_of(leaves):
    """Values that JSON knows, nested."""
    nested = lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)  # noqa: E731
    return st.recursive(leaves, nested, max_leaves=8)


DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "f4", "f8"]


@st.composite
def arrays(draw, max_dimensions=3, dtypes=DTYPES):
    dtype = numpy.dtype(draw(st.sampled_from(dtypes)))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=max_dimensions)))
    count = math.prod(shape)
    if dtype.kind == "f":
        numbers = draw(st.lists(st.floats(-1e6, 1e6, width=32), min_size=count, max_size=count))
    elif dtype.kind == "b":
        numbers = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    else:
        limits = numpy.iinfo(dtype)
        low, high = max(int(limits.min), -(2**31)), min(int(limits.max), 2**31 - 1)
        numbers = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    array = numpy.array(numbers, dtype=dtype).reshape(shape)
    change = draw(st.sampled_from(["as it is", "fortran", "reversed", "big-endian"]))
    if change == "fortran":
        return numpy.asfortranarray(array)
    if change == "reversed":
        return array[::-1]
    return array.astype(dtype.newbyteorder(">")) if change == "big-endian" else array


def alike(one, other, path="", is_short=False):
    """Whether values are equal, with their types. Those of arrays are as precise as floats of 32 bits if `is_short`."""
    if isinstance(one, numpy.ndarray) or isinstance(other, numpy.ndarray):
        one, other = numpy.asarray(one), numpy.asarray(other)
        if "f4" in (one.dtype.str[1:], other.dtype.str[1:]) or (is_short and one.dtype.kind == "f"):
            # JSON has as many digits as tell one float of 32 bits from the next; DocArray writes more.
            one, other = one.astype("f4"), other.astype("f4")
        assert numpy.array_equal(one, other), path
        return
    assert type(one) is type(other), (path, one, other)
    if isinstance(one, dict):
        assert set(one) == set(other), path
        for name in one:
            alike(one[name], other[name], f"{path}.{name}", is_short)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for index, (ours, theirs) in enumerate(zip(one, other)):
            alike(ours, theirs, f"{path}[{index}]", is_short)
    else:
        assert one == other, (path, one, other)


names = st.from_regex(r"[a-z][a-z_0-9]{0,8}", fullmatch=True).filter(lambda name: name != "id")


@repeatable
@given(documents=st.lists(st.dictionaries(names, values_of(scalars), max_size=4), min_size=1, max_size=4))
def test_dicts_come_back_as_they_are(gateways, protocol, documents):
    documents = [{"id": str(number), **document} for number, document in enumerate(documents)]
    back = client_of(gateways, "v2", protocol).post("/echo", documents, request_size=2)
    alike(back, documents)
    assert [list(document) for document in back] == [list(document) for document in documents]


@repeatable
@given(documents=st.lists(st.dictionaries(names, arrays(), max_size=3), min_size=1, max_size=3))
def test_arrays_in_dicts_come_back_as_they_are(gateways, protocol, documents):
    documents = [{"id": str(number), **document} for number, document in enumerate(documents)]
    back = client_of(gateways, "v2", protocol).post("/echo", documents, request_size=2)
    alike(back, documents)
    if protocol != "http":
        for sent, came in zip(documents, back):
            for name in sent:
                assert name == "id" or came[name].dtype == sent[name].dtype.newbyteorder("=")


@repeatable
@given(data=st.data(), rows=st.integers(1, 5))
def test_columns_come_back_as_they_are(gateways, protocol, data, rows):
    columns = {"id": [str(number) for number in range(rows)]}
    for name in data.draw(st.lists(names, unique=True, max_size=3)):
        kind = data.draw(st.sampled_from(["array", "integers", "floats", "texts"]))
        if kind == "array":
            row = data.draw(arrays(2))
            columns[name] = numpy.stack([row] * rows)
        else:
            of = {"integers": integers, "floats": finite.filter(lambda x: not x.is_integer()), "texts": texts}[kind]
            columns[name] = data.draw(st.lists(of, min_size=rows, max_size=rows))
    back = client_of(gateways, "v2", protocol).post("/echo", columns=columns, request_size=2)
    assert set(back) == set(columns)
    for name, sent in columns.items():
        if isinstance(sent, numpy.ndarray):
            came = numpy.asarray(back[name])
            if protocol == "http" and sent.dtype.str[1:] == "f4":
                # Singles are written with the fewest digits that tell them apart, and come back as doubles.
                came = came.astype("f4")
            assert numpy.array_equal(came, sent)
        else:
            assert list(back[name]) == sent


# DocArray v2

try:
    import docarray

    is_v1 = tuple(map(int, docarray.__version__.split(".")[:2])) < (0, 30)
except ImportError:
    docarray, is_v1 = None, False

v1 = pytest.mark.skipif(docarray is None or not is_v1, reason="DocArray v1 is not installed")
v2 = pytest.mark.skipif(docarray is None or is_v1, reason="DocArray v2 is not installed")

if docarray is not None and not is_v1:
    import pydantic
    from docarray import BaseDoc, DocList
    from docarray.typing import NdArray

    def _nests_lists():
        try:
            inner = pydantic.create_model("Inner", __base__=BaseDoc, text=(str, ...))
            pydantic.create_model("Outer", __base__=BaseDoc, many=(DocList[inner], ...))
        except Exception:
            return False
        return True

    NESTS_LISTS = _nests_lists()

    def fields(protocol):
        """Annotations, and what values they take."""
        # DocArray reads a float that is a whole number in JSON as it is written: as a float.
        plain = [
            (str, texts), (int, integers), (float, finite), (bool, st.booleans()),
            (NdArray, arrays()), (typing.List[str], st.lists(texts, max_size=3)),
            (typing.List[int], st.lists(integers, max_size=3)), (typing.List[float], st.lists(finite, max_size=3)),
            (typing.Dict[str, typing.Any], st.dictionaries(texts, values_of(scalars), max_size=3)),
        ]  # fmt: skip
        if protocol != "http":
            # JSON of documents v2 has text alone.
            plain.append((bytes, st.binary(max_size=20)))
        optional = [(typing.Optional[kind], st.none() | values) for kind, values in plain]
        return plain + optional

    @st.composite
    def models(draw, protocol, depth=2):
        """A class of documents, and a strategy for its objects."""
        chosen = draw(st.dictionaries(names.map(lambda name: f"f_{name}"),
                                      st.sampled_from(fields(protocol)), max_size=4))  # fmt: skip
        annotations = {name: (kind, ...) for name, (kind, _) in chosen.items()}
        values = {name: of for name, (_, of) in chosen.items()}
        if depth and draw(st.booleans()):
            inner, inner_values = draw(models(protocol, depth - 1))
            annotations["inner"], values["inner"] = (inner, ...), inner_values
            if NESTS_LISTS and protocol != "http":
                annotations["many"] = (DocList[inner], ...)
                values["many"] = st.lists(inner_values, max_size=3).map(lambda many: DocList[inner](many))
        of = pydantic.create_model("Model", __base__=BaseDoc, **annotations)
        return of, st.fixed_dictionaries({"id": texts.filter(bool), **values}).map(lambda given: of(**given))

    def own_result(protocol, documents, collection):
        """What DocArray's own codec makes of documents."""
        if protocol == "http":
            of = collection.doc_type
            return collection([of.parse_raw(document.json()) for document in documents])
        return collection.from_protobuf(documents.to_protobuf())

    def alike_documents(one, other, path=""):
        assert type(one) is type(other), (path, type(one), type(other))
        if isinstance(one, BaseDoc):
            assert set(one.__dict__) == set(other.__dict__), path
            for name in one.__dict__:
                alike_documents(getattr(one, name), getattr(other, name), f"{path}.{name}")
        elif isinstance(one, DocList):
            assert len(one) == len(other), path
            for index, (ours, theirs) in enumerate(zip(one, other)):
                alike_documents(ours, theirs, f"{path}[{index}]")
        else:
            alike(one, other, path, is_short=True)


@v2
@repeatable
@given(data=st.data())
def test_documents_v2_are_what_docarrays_codec_makes(gateways, protocol, data):
    of, values = data.draw(models(protocol))
    documents = DocList[of](data.draw(st.lists(values, min_size=1, max_size=3)))
    try:
        expected = own_result(protocol, documents, DocList[of])
    except Exception:
        # DocArray cannot read all that it writes.
        assume(False)
    back = client_of(gateways, "v2", protocol).post("/echo", documents, return_type=DocList[of])
    assert type(back) is type(documents)
    alike_documents(back, expected)
    alike_documents(DocList[of].from_protobuf(back.to_protobuf()), DocList[of].from_protobuf(expected.to_protobuf()))


# DocArray v1

if docarray is not None and is_v1:
    from docarray import Document, DocumentArray
    from docarray.score import NamedScore

    tags = st.dictionaries(texts, values_of(st.none() | st.booleans() | texts | finite | integers), max_size=3)
    single = st.floats(-1e6, 1e6, width=32).filter(bool)

    @st.composite
    def documents_v1(draw, depth=1):
        given = {"id": draw(texts.filter(bool))}
        content = draw(st.sampled_from(["text", "blob", "tensor", None]))
        if content == "text":
            given["text"] = draw(texts.filter(bool))
        elif content == "blob":
            given["blob"] = draw(st.binary(min_size=1, max_size=20))
        elif content == "tensor":
            given["tensor"] = draw(arrays())
        optional = {
            "embedding": arrays(1, ["f4", "f8"]), "tags": tags, "weight": single, "modality": texts.filter(bool),
            "location": st.lists(single, min_size=1, max_size=3),
            "scores": st.dictionaries(texts, single.map(lambda value: NamedScore(value=value)), max_size=2),
        }  # fmt: skip
        for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
            given[name] = draw(optional[name])
        document = Document(**given)
        if depth and draw(st.booleans()):
            document.chunks = DocumentArray(draw(st.lists(documents_v1(depth - 1), max_size=2)))
            document.matches = DocumentArray(draw(st.lists(documents_v1(depth - 1), max_size=2)))
        return document

    def alike_documents_v1(one, other, path=""):
        # A collection sets these in the documents that it is given.
        kept = {"parent_id", "granularity", "adjacency"}
        names = (set(one.non_empty_fields) | set(other.non_empty_fields)) - kept
        for name in names:
            ours, theirs = getattr(one, name), getattr(other, name)
            if name in ("chunks", "matches"):
                assert len(ours) == len(theirs), (path, name)
                for index, pair in enumerate(zip(ours, theirs)):
                    alike_documents_v1(*pair, f"{path}.{name}[{index}]")
            elif name == "scores":
                assert {key: ours[key].value for key in ours} == {key: theirs[key].value for key in theirs}
            else:
                alike(ours, theirs, f"{path}.{name}")


@v1
@repeatable
@given(data=st.data())
def test_documents_v1_are_what_docarrays_codec_makes(gateways, protocol, data):
    documents = DocumentArray(data.draw(st.lists(documents_v1(), min_size=1, max_size=3)))
    expected = DocumentArray.from_protobuf(documents.to_protobuf())
    back = client_of(gateways, "v1", protocol).post("/echo", documents, return_type=DocumentArray)
    assert isinstance(back, DocumentArray) and len(back) == len(expected)
    for index, (ours, theirs) in enumerate(zip(back, expected)):
        alike_documents_v1(ours, theirs, f"[{index}]")
