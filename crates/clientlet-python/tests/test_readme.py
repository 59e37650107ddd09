"""The Python of the README runs as it stands there."""

import pathlib
import re

import pytest

pytest.importorskip("numpy")

README = pathlib.Path(__file__).parents[3] / "README.md"
OWN = pathlib.Path(__file__).parents[1] / "README.md"


def blocks():
    for page in (README, OWN):
        text = page.read_text()
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield pytest.param(match[1], id=f"{page.parent.name}:{text[: match.start()].count(chr(10)) + 1}")


@pytest.mark.parametrize("code", list(blocks()))
def test_an_example_runs(code, capsys):
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out
