"""`docs/helper.md` has each name of the module, and the tests that it names exist."""

from __future__ import annotations

import inspect
import pathlib
import re

import pytest

from clientlet import helper, helper_3_33

TESTS = pathlib.Path(__file__).parent
PAGE = (TESTS.parents[2] / "docs/helper.md").read_text()


def rows(title):
    """The first cells of the table below a title, and the tests in its last."""
    part = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[-1].strip("` ") for cells in lines}


def names(module):
    """The classes and functions of a module, with their own methods and properties."""
    found = set()
    for name in ("AioHttpClientlet", "HTTPClientlet", "WebsocketClientlet", "WsResponseIter", "handle_response_status"):
        member = getattr(module, name, None)
        if member is None:
            continue
        found.add(name)
        if inspect.isclass(member):
            shown = (key for key in vars(member) if key[0] != "_" or key in ("__aenter__", "__aexit__", "__anext__", "__aiter__"))
            found |= {f"{name}.{key}" for key in shown}
    return found


def attributes():
    made = vars(helper.WebsocketClientlet("ws://h", None))
    return {name for name in made if name[0] != "_"}


def test_the_page_has_each_name_of_the_documented_form():
    on_page = set(rows("`clientlet.helper`"))
    assert names(helper) | attributes() <= on_page
    for name in on_page:
        found = helper
        for part in name.split("."):
            if part in attributes() or name == "WsResponseIter.close_message":
                break
            found = getattr(found, part)


def test_the_page_has_what_differs_in_the_form_of_3_33():
    on_page = set(rows("`clientlet.helper_3_33`"))
    for name in on_page:
        found = helper_3_33
        for part in name.split("."):
            found = getattr(found, part)
    inherited = set(rows("`clientlet.helper`"))
    assert names(helper_3_33) <= on_page | inherited


def test_the_page_has_each_name_of_the_original():
    original = pytest.importorskip("jina.clients.base.helper")
    on_page = set(rows("`clientlet.helper`"))
    if hasattr(original, "handle_response_status"):
        on_page |= set(rows("`clientlet.helper_3_33`"))
    assert names(original) - {"WebsocketClientlet.__aenter__"} <= on_page


def test_the_tests_that_the_page_names_exist():
    code = "".join(path.read_text() for path in TESTS.glob("test_helper*.py"))
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    assert len(named) > 30
    for name in named:
        assert f"def {name}(" in code, name


EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["3.14.1", "3.33.1", "websocket"])
def test_the_examples_of_the_page_run(capsys, example):
    printed = re.findall(r"print\(.*\)  # (.*)", example)
    exec(compile(example, "helper.md", "exec"), {"__name__": "__main__"})
    assert printed and capsys.readouterr().out.splitlines() == printed


def test_the_page_has_each_argument_and_attribute_of_an_answer():
    from clientlet._exchange import Answer
    from clientlet._settings import ACCEPTED

    arguments = PAGE.split("\n## Arguments\n", 1)[1].split("\n## ", 1)[0]
    for name in (*ACCEPTED, "tracer_provider"):
        assert f"`{name}`" in arguments, name
    answer = PAGE.split("\n## Answers over HTTP\n", 1)[1].split("\n## ", 1)[0]
    for name in (*vars(Answer), *Answer.__slots__):
        assert name[0] == "_" or f"`{name}" in answer, name


def test_the_page_has_each_class_of_errors():
    import clientlet

    # `InputError`, `CallbackError` and `Cancelled` belong to calls of the package's own clients.
    for name in vars(clientlet):
        member = getattr(clientlet, name)
        if inspect.isclass(member) and issubclass(member, clientlet.Error):
            if name not in ("InputError", "CallbackError", "Cancelled"):
                assert f"`{name}`" in PAGE, name
