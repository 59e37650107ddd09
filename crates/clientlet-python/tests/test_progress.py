"""Progress is shown by what is installed, or told to a function."""

import sys
import types

import pytest

from clientlet import AsyncClient, Client

DOCUMENTS = [{"text": "a"}] * 5


def hide(monkeypatch, *names):
    """Makes modules as if they were not installed."""
    for name in [*sys.modules]:
        if name.split(".")[0] in names:
            monkeypatch.delitem(sys.modules, name)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_a_function_is_told_the_documents_that_have_ended(url, run):
    told = []
    Client(url).post("/", DOCUMENTS, request_size=2, show_progress=told.append)
    assert told == [2, 4, 5]
    # Documents of failed requests have ended as well.
    results = Client(url).post(
        "/fail", DOCUMENTS, request_size=5, stream=True, continue_on_error=True, show_progress=told.append
    )
    assert len(list(results)) == 1
    assert told == [2, 4, 5, 5]
    run(AsyncClient(url).post("/", DOCUMENTS, request_size=3, show_progress=told.append))
    assert told == [2, 4, 5, 5, 3, 5]


def test_what_the_function_raises_ends_the_call(gateway):
    def tell(count):
        raise KeyError("no such bar")

    with pytest.raises(KeyError, match="no such bar"):
        Client(gateway.url).post("/", DOCUMENTS, show_progress=tell)


def test_tqdm_shows_a_bar(gateway, capsys):
    pytest.importorskip("tqdm")
    Client(gateway.url).post("/", DOCUMENTS, show_progress=True)
    assert "5/5" in capsys.readouterr().err


def bars(monkeypatch):
    """What bars of tqdm are told; `tqdm.auto` is the one that knows notebooks."""
    told = []

    class Bar:
        def __init__(self, **options):
            told.append(options)
            self.update, self.close = told.append, lambda: told.append("closed")

    module = types.ModuleType("tqdm.auto")
    module.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    return told


def test_tqdm_is_asked_for_the_bar_that_fits_the_program(gateway, monkeypatch):
    made = bars(monkeypatch)
    Client(gateway.url).post("/", DOCUMENTS, request_size=3, show_progress=True)
    assert made == [{"total": 5, "unit": "document"}, 3, 2, "closed"]


@pytest.mark.parametrize(
    "given, total",
    [
        ({"inputs": DOCUMENTS}, 5),
        ({"inputs": {"text": "a"}}, 1),
        ({"columns": {"text": ["a"] * 7, "id": list("abcdefg")}}, 7),
        # Nothing tells the length of a generator, and a request without documents has none.
        ({"inputs": iter(DOCUMENTS)}, None),
        ({}, None),
    ],
)
def test_a_bar_knows_the_number_of_documents(gateway, monkeypatch, given, total):
    made = bars(monkeypatch)
    Client(gateway.url).post("/", show_progress=True, **given)
    assert made[0]["total"] == total
    assert made[-1] == "closed"


def test_rich_shows_a_bar_where_tqdm_is_not_installed(gateway, monkeypatch, capsys):
    pytest.importorskip("rich")
    hide(monkeypatch, "tqdm")
    Client(gateway.url).post("/", DOCUMENTS, show_progress=True)
    assert "100%" in capsys.readouterr().out


def test_a_stream_that_is_dropped_closes_its_bar(gateway, monkeypatch):
    rich = pytest.importorskip("rich.progress")
    hide(monkeypatch, "tqdm")
    stopped = []
    stop = rich.Progress.stop
    monkeypatch.setattr(rich.Progress, "stop", lambda bar: (stopped.append(True), stop(bar)))
    for _ in Client(gateway.url).post("/", DOCUMENTS, request_size=1, stream=True, show_progress=True):
        break
    assert stopped


def test_nothing_is_shown_where_neither_is_installed(gateway, monkeypatch, capsys):
    hide(monkeypatch, "tqdm", "rich")
    assert len(Client(gateway.url).post("/", DOCUMENTS, show_progress=True)) == 5
    assert capsys.readouterr() == ("", "")
