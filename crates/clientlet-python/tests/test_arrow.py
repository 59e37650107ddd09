"""Tables by the Arrow C stream interface, in and out."""

import pytest

from clientlet import Client

numpy = pytest.importorskip("numpy")


def table_of_polars(columns):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(columns)


def table_of_pyarrow(columns):
    pyarrow = pytest.importorskip("pyarrow")
    plain = {name: values if isinstance(values, list) else values.tolist() for name, values in columns.items()}
    return pyarrow.table(plain)


MAKERS = {"polars": table_of_polars, "pyarrow": table_of_pyarrow}
ROWS = 250


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def columns():
    return {
        "id": [str(n) for n in range(ROWS)],
        "text": [None if n % 50 == 49 else f"text {n}" for n in range(ROWS)],
        "embedding": numpy.arange(ROWS * 8, dtype="float32").reshape(ROWS, 8),
    }


def test_a_table_comes_back_as_a_table(make, v2_url, protocol):
    polars = pytest.importorskip("polars")
    table = Client(v2_url).post("/echo", make(columns()), request_size=60)
    assert len(table) == ROWS and {"id", "text", "embedding"} <= set(table.column_names)
    back = polars.DataFrame(table)
    assert back["id"].to_list() == columns()["id"]
    assert back["text"].to_list() == columns()["text"]
    # JSON has one type of numbers, and lists of Python have doubles.
    is_f32 = protocol != "http" and make is table_of_polars
    assert back["embedding"].dtype == polars.Array(polars.Float32 if is_f32 else polars.Float64, 8)
    assert numpy.array_equal(back["embedding"].to_numpy(), columns()["embedding"])


def test_a_table_is_read_as_the_same_documents(make, v2_url):
    documents = Client(v2_url).post("/echo", make(columns()), return_type=dict)
    assert [document["id"] for document in documents] == columns()["id"]
    for document, embedding in zip(documents, columns()["embedding"]):
        assert isinstance(document["embedding"], numpy.ndarray)
        assert numpy.array_equal(document["embedding"], embedding)


def test_slices_and_several_batches_are_read(v2):
    pyarrow = pytest.importorskip("pyarrow")
    values = pyarrow.array(range(24), pyarrow.float64())
    embeddings = pyarrow.FixedSizeListArray.from_arrays(values, 4)
    whole = pyarrow.table({"id": [str(n) for n in range(6)], "embedding": embeddings})
    table = pyarrow.concat_tables([whole.slice(1, 2), whole.slice(4, 2)])
    back = Client(v2.url).post("/echo", table, return_type="columns")
    assert list(back["id"]) == ["1", "2", "4", "5"]
    assert numpy.array_equal(back["embedding"], numpy.arange(24.0).reshape(6, 4)[[1, 2, 4, 5]])


def test_values_of_all_kinds_are_read(v2):
    pyarrow = pytest.importorskip("pyarrow")
    row = {
        "id": "a", "flag": True, "count": 7, "weight": 0.5, "tags": {"name": "x", "ranks": [1, 2]},
        "words": ["b", "c"], "nothing": None,
    }  # fmt: skip
    table = pyarrow.Table.from_pylist([row])
    table = table.append_column("group", pyarrow.array(["g"]).dictionary_encode())
    (document,) = Client(v2.url).post("/echo", table, return_type=dict)
    assert document["flag"] is True and document["count"] == 7 and document["weight"] == 0.5
    assert document["words"] == ["b", "c"] and document["group"] == "g"
    assert document["tags"]["name"] == "x" and list(document["tags"]["ranks"]) == [1, 2]


def test_documents_become_a_table(v2_url):
    pyarrow = pytest.importorskip("pyarrow")
    documents = [
        {"id": "a", "flag": True, "count": 1, "weight": 0.5, "words": ["x"], "tags": {"p": "q"}},
        {"id": "b", "flag": False, "count": 2, "weight": 1.5, "words": [], "tags": {"r": "s"}},
    ]
    table = pyarrow.table(Client(v2_url).post("/echo", documents, return_type="arrow"))
    assert table["id"].to_pylist() == ["a", "b"]
    assert table["flag"].to_pylist() == [True, False]
    assert table["count"].to_pylist() == [1, 2] and table["weight"].to_pylist() == [0.5, 1.5]
    assert table["words"].to_pylist() == [["x"], []]
    assert table["tags"].to_pylist() == [{"p": "q", "r": None}, {"p": None, "r": "s"}]


def test_no_documents_are_a_table_without_rows(v2):
    assert len(Client(v2.url).post("/echo", [], return_type="arrow")) == 0


def test_a_type_that_documents_do_not_have_is_refused_by_name(v2):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"when": pyarrow.array([1], pyarrow.timestamp("s"))})
    with pytest.raises(TypeError, match='column "when": .*Timestamp.*cast it'):
        Client(v2.url).post("/echo", table)


def test_a_second_column_of_a_name_is_refused(v2):
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["n", "n"])
    with pytest.raises(ValueError, match='two columns of the name "n"'):
        Client(v2.url).post("/echo", columns=table)


def test_an_exception_of_a_stream_of_batches_is_told_on_one_line(v2):
    pyarrow = pytest.importorskip("pyarrow")

    def batches():
        yield pyarrow.record_batch({"n": [1]})
        raise RuntimeError("no more")

    reader = pyarrow.RecordBatchReader.from_batches(pyarrow.schema([("n", pyarrow.int64())]), batches())
    with pytest.raises(ValueError, match="no more") as raised:
        Client(v2.url).post("/echo", columns=reader)
    assert "\n" not in str(raised.value)


def test_columns_without_a_common_type_are_refused_by_name():
    from clientlet._core import Table

    with pytest.raises(TypeError, match='column "mixed": its values have no type in common'):
        Table({"mixed": [1, "a"]})
    with pytest.raises(ValueError):
        Table({"a": [1], "b": [1, 2]})


def test_a_stream_is_given_anew_each_time():
    polars = pytest.importorskip("polars")
    from clientlet._core import Table

    table = Table({"n": [1, None, 3], "half": numpy.zeros((3, 2), "float16")})
    assert polars.DataFrame(table)["n"].to_list() == polars.DataFrame(table)["n"].to_list() == [1, None, 3]
    del table
