"""The documentation in the code: its examples run, and it names every parameter."""

import ast
import asyncio
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import clientlet
from clientlet import Client
from clientlet._options import Settings
from clientlet.testing import Gateway

numpy = pytest.importorskip("numpy")


def modules():
    names = [module.name for module in pkgutil.iter_modules(clientlet.__path__)]
    found = [clientlet]
    for name in names:
        # These end the process, or are described by the stub.
        if name in ("__main__", "_core"):
            continue
        try:
            found.append(importlib.import_module(f"clientlet.{name}"))
        except ModuleNotFoundError as missing:
            # Some modules are for programs that have Jina, and with it aiohttp.
            if missing.name not in ("jina", "aiohttp"):
                raise
    return found


def examples():
    finder = doctest.DocTestFinder()
    for module in modules():
        for found in finder.find(module, module.__name__):
            if found.examples:
                yield pytest.param(found, id=found.name)


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_says_what_happens(example):
    with Gateway() as gateway:
        given = {"asyncio": asyncio, "clientlet": clientlet, "numpy": numpy, "gateway": gateway}
        example.globs.update(given, client=Client(gateway.url))
        told = []
        result = doctest.DocTestRunner().run(example, out=told.append)
    assert result.failed == 0, "".join(told)


def test_the_clients_and_their_calls_have_examples():
    names = {example.values[0].name for example in EXAMPLES}
    for name in ("client.Client", "client.Client.post", "client.Stream", "async_client.AsyncClient"):
        assert f"clientlet.{name}" in names
    assert {"clientlet", "clientlet.testing.Gateway", "clientlet._errors.Error"} <= names


def described(function):
    return re.findall(r"^ *:param (\w+):", function.__doc__, re.MULTILINE)


@pytest.mark.parametrize("function", [Client.post, Gateway.__init__])
def test_every_parameter_is_described_in_its_order(function):
    # `unknown` takes what there is not, to say what to use.
    taken = [name for name in inspect.signature(function).parameters if name not in ("self", "unknown")]
    assert described(function) == taken


def test_every_setting_is_described():
    assert described(Client.__init__) == list(Settings.__annotations__)


def test_both_clients_take_the_same():
    for name in ("post", "stream_doc", "__init__"):
        one, other = (inspect.signature(getattr(of, name)) for of in (Client, clientlet.AsyncClient))
        assert list(one.parameters.values()) == list(other.parameters.values())


@pytest.mark.parametrize("name", clientlet.__all__)
def test_everything_public_is_described(name):
    public = getattr(clientlet, name)
    if name == "__version__":
        return
    assert public.__doc__
    for of, member in vars(public).items() if isinstance(public, type) else ():
        if callable(member) and not of.startswith("_"):
            assert member.__doc__, of


def stub_docstrings():
    path = importlib.import_module("clientlet._core").__file__
    stub = pathlib.Path(clientlet.__file__).with_name("_core.pyi")
    assert pathlib.Path(path).parent == stub.parent
    for of in ast.parse(stub.read_text()).body:
        if isinstance(of, ast.ClassDef):
            yield (of.name,), ast.get_docstring(of)
            for member in of.body:
                if isinstance(member, ast.FunctionDef):
                    yield (of.name, member.name), ast.get_docstring(member)


DESCRIBED = [pytest.param(names, said, id=".".join(names)) for names, said in stub_docstrings() if said]


@pytest.mark.parametrize("names, said", DESCRIBED)
def test_the_stub_says_what_the_module_says(names, said):
    described = clientlet._core
    for name in names:
        described = getattr(described, name)
    assert " ".join(described.__doc__.split()) == " ".join(said.split())
