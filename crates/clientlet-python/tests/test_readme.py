"""The Python of the pages runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest

import clientlet

pytest.importorskip("numpy")

OWN = pathlib.Path(__file__).parents[1]
TOP = OWN.parents[1]
PAGES = [OWN / "README.md", TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def blocks():
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            yield pytest.param(match[1], id=f"{page.relative_to(TOP)}:{line}")


BLOCKS = list(blocks())


@pytest.mark.parametrize("code", BLOCKS)
def test_an_example_runs_and_prints(code):
    if "opentelemetry" in code:
        pytest.importorskip("opentelemetry.sdk")
    if re.search("^(from|import) jina", code, re.MULTILINE):
        pytest.importorskip("jina")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
    # Nor does an example teach what warns.
    assert ran.stderr == ""


@pytest.mark.parametrize("page", ["README.md", "crates/clientlet-python/README.md"])
def test_the_first_example_has_three_lines(page):
    first = next(block.values[0] for block in BLOCKS if block.id.startswith(f"{page}:"))
    assert len(first.splitlines()) == 3


def test_the_table_of_errors_has_each_class_with_its_kind_and_what_it_also_is():
    text = (OWN / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (?:`(\w+)` )?\| (.+) \|$", text, re.MULTILINE)
    written = {(name, kind, also) for name, kind, also, _ in rows}
    assert len(written) == len(rows)
    classes = [of for of in vars(clientlet).values() if isinstance(of, type) and issubclass(of, clientlet.Error)]
    there = {
        (of.__name__, of.kind, "".join(base.__name__ for base in of.__bases__ if base is not clientlet.Error))
        for of in classes
        if of is not clientlet.Error
    }
    assert written == there
    assert {of.kind for of in classes} >= set(clientlet._errors._CLASSES)


def test_the_page_names_the_limit_of_time_that_holds_by_default():
    said = re.search(r"`attempt_timeout` one attempt \((\d+) seconds", (OWN / "README.md").read_text())
    described = re.search(r":param attempt_timeout: .*; (\d+) by default", clientlet.Client.__init__.__doc__)
    assert said[1] == described[1]


def test_the_section_for_users_of_jina_has_what_post_refuses():
    from clientlet._options import _ELSEWHERE_FOR_POST

    section = (OWN / "README.md").read_text().partition("## Coming from jina.Client\n")[2].partition("\n## ")[0]
    for name in ("return_responses", "results_in_order", "compression", "credentials"):
        assert name in _ELSEWHERE_FOR_POST and f"`{name}" in section
