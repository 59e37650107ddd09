"""What the tests share: gateways, and the ways to call."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

import clientlet
from clientlet.testing import Gateway

PROTOCOLS = ("http", "websocket", "grpc")

# The folder with the environments of real gateways.
INTEROP = os.environ.get("CLIENTLET_INTEROP")
STARTER = pathlib.Path(__file__).parents[3] / "interop/gateway.py"


def url_of(gateway: Gateway, protocol: str) -> str:
    return gateway.urls[PROTOCOLS.index(protocol)]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway with documents v1 and the sample executor."""
    with Gateway() as gateway:
        yield gateway


@pytest.fixture
def url(gateway: Gateway, protocol: str) -> str:
    return url_of(gateway, protocol)


def echo(request: clientlet.testing.Request) -> None:
    """Gives the documents back."""


@pytest.fixture
def v2() -> Iterator[Gateway]:
    """A gateway with documents v2, which gives documents back."""
    with Gateway({"/echo": echo}, docarray="v2") as gateway:
        yield gateway


@pytest.fixture
def v2_url(v2: Gateway, protocol: str) -> str:
    return url_of(v2, protocol)


def _loops() -> list[str]:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return ["asyncio"]
    return ["asyncio", "uvloop"]


@pytest.fixture(params=_loops())
def run(request: pytest.FixtureRequest):
    """Runs a coroutine in a new event loop, of asyncio and of uvloop."""

    def run(coroutine):
        if request.param == "uvloop":
            import uvloop

            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run


@pytest.fixture(scope="session")
def real_gateways():
    """The URLs of a real gateway of an environment: `seed-era` is Jina 3.14.1, `current` 3.33.1 with documents
    v2, `current-v1` with v1. Each is started once, when it is first asked for. A test is skipped where they are
    not installed."""
    processes = {}

    def urls(environment: str) -> tuple[str, str, str]:
        if INTEROP is None:
            pytest.skip("real gateways are not installed, or another run of the tests has them")
        if environment not in processes:
            processes[environment] = _started(environment)
        return processes[environment][1]

    yield urls
    for process, _ in processes.values():
        process.terminate()
    for process, _ in processes.values():
        process.wait(timeout=60)
        process.stdout.close()


def _started(environment: str) -> tuple[subprocess.Popen, tuple[str, str, str]]:
    python = pathlib.Path(INTEROP) / environment / "bin/python"
    arguments = ["--protocol", "http,websocket,grpc", "--port", "0,0,0", "--die-with-parent"]
    process = subprocess.Popen(
        [python, STARTER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    told = json.loads(process.stdout.readline())
    assert told["ready"], told
    ports = told["ports"]
    schemes = {"http": "http", "websocket": "ws", "grpc": "grpc"}
    return process, tuple(f"{scheme}://127.0.0.1:{ports[name]}" for name, scheme in schemes.items())
