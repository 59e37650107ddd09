"""What type checkers see: the stubs are those of the module, programs pass in strict mode, and mistakes are
found."""

import asyncio
import json
import os
import pathlib
import re
import subprocess
import sys
import types
import typing

import pytest

import clientlet
from clientlet.testing import Gateway

pytest.importorskip("mypy")

FOLDER = pathlib.Path(__file__).parent
EXAMPLES = FOLDER / "typed_examples.py"
MISTAKES = FOLDER / "typed_mistakes.py"


def mypy(*arguments, cache, **options):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", cache, *arguments]
    return subprocess.run(command, cwd=cache, **options)


def pyright(*arguments, folder, **options):
    pytest.importorskip("pyright")
    # With `--verifytypes` it knows no other way to find the environment.
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "pyright", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, **options)


def strict(folder, path):
    """A folder in which pyright checks a file in strict mode."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    (folder / path.name).write_text(path.read_text())
    return folder


def test_the_stubs_are_those_of_the_module(tmp_path):
    subprocess.run([sys.executable, "-m", "mypy.stubtest", "clientlet._core"], cwd=tmp_path, check=True)


def test_the_package_and_examples_pass_mypy_in_strict_mode(tmp_path):
    mypy("-p", "clientlet", cache=tmp_path, check=True)
    mypy(EXAMPLES, cache=tmp_path, check=True)


def test_examples_pass_pyright_in_strict_mode(tmp_path):
    pyright(folder=strict(tmp_path, EXAMPLES), check=True)


def test_everything_public_has_a_type_for_pyright(tmp_path):
    pyright("--verifytypes", "clientlet", "--ignoreexternal", folder=tmp_path, check=True)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_mistakes_are_found(checker, tmp_path):
    if checker == "mypy":
        told = mypy(MISTAKES, cache=tmp_path, stdout=subprocess.PIPE, text=True).stdout
    else:
        told = pyright(folder=strict(tmp_path, MISTAKES), stdout=subprocess.PIPE, text=True).stdout
    found = {int(line) for line in re.findall(rf"{MISTAKES.name}:(\d+)\b.*error", told)}
    lines = MISTAKES.read_text().splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# mistake")}
    assert found == expected, told


def has_type(value, expected) -> bool:
    """Whether a value is of a type, as far as can be seen."""
    if expected is typing.Any:
        return True
    if expected is None:
        return value is None
    if typing.get_origin(expected) in (typing.Union, types.UnionType):
        return any(has_type(value, option) for option in typing.get_args(expected))
    origin = typing.get_origin(expected)
    if origin is None or not isinstance(origin, type):
        return isinstance(value, expected)
    items = typing.get_args(expected)
    if origin is list and not all(has_type(item, items[0]) for item in value):
        return False
    return isinstance(value, origin)


def test_the_types_are_those_of_the_values(monkeypatch):
    pytest.importorskip("docarray")
    import typing_extensions

    seen = []

    def assert_type(value, expected):
        assert has_type(value, expected), (value, expected)
        seen.append(expected)
        return value

    monkeypatch.setattr(typing_extensions, "assert_type", assert_type)
    monkeypatch.syspath_prepend(str(FOLDER))
    import typed_examples

    def fail(request):
        raise ValueError("no")

    with Gateway({"/upper": typed_examples.handler, "/fail": fail}, docarray="v2") as gateway:
        asyncio.run(typed_examples.main(gateway))
    assert clientlet.Response[list[typed_examples.Text]] and len(seen) > 30
