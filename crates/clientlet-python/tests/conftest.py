"""What the tests share: gateways, and the ways to call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import clientlet
from clientlet.testing import Gateway

PROTOCOLS = ("http", "websocket", "grpc")


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
