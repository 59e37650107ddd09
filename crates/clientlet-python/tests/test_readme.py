"""The Python of the pages runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest

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
    if "from jina" in code:
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
