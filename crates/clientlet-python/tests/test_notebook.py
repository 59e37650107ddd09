"""The notebook runs, shows its pictures and its bar, and its committed outputs are those of today's code.
`CLIENTLET_BLESS=1` writes the outputs."""

import os
import pathlib
import re

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for name in ("ipykernel", "ipywidgets", "matplotlib", "tqdm"):
    pytest.importorskip(name)

NOTEBOOK = pathlib.Path(__file__).parents[1] / "examples" / "search.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # Settings and caches of the user are not the test's.
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
            patch.setenv(variable, str(folder / variable))
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=300, resources=resources, store_widget_state=False).execute()
    for cell in notebook.cells:
        # Times of execution.
        cell.metadata.clear()
    if os.environ.get("CLIENTLET_BLESS"):
        nbformat.write(notebook, NOTEBOOK)
    return notebook


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def texts(notebook):
    """What is printed and returned, cell by cell; the bar's times are left out."""
    told = []
    for cell in notebook.cells:
        found = [of.get("text") or of.get("data", {}).get("text/plain", "") for of in cell.get("outputs", [])]
        told.append([re.sub(r"\[\d\d:\d\d.*\]", "", text) for text in found])
    return told


def test_it_shows_pictures(executed):
    pictures = [output for output in outputs(executed) if "image/png" in output.get("data", {})]
    assert len(pictures) == 2


def test_the_bar_is_a_widget(executed):
    widget = "application/vnd.jupyter.widget-view+json"
    widgets = [output for output in outputs(executed) if widget in output.get("data", {})]
    assert len(widgets) == 1
    # And nothing else is shown in its place.
    assert [output for output in outputs(executed) if output.get("name") == "stderr"] == []


def test_the_search_finds_what_was_asked_for(executed):
    (said,) = [text for told in texts(executed) for text in told if "of the kind" in text]
    assert int(said.split("%")[0]) > 80


def test_the_committed_outputs_are_those_of_todays_code(executed):
    committed = nbformat.read(NOTEBOOK, as_version=4)
    assert texts(committed) == texts(executed)
    assert len(outputs(committed)) == len(outputs(executed))
    nbformat.validate(committed)
    assert NOTEBOOK.stat().st_size < 150_000
