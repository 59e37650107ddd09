"""A gateway for tests: it runs inside the test, on free ports, and breaks as the test says."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from clientlet import _core
from clientlet._records import Arrival

__all__ = ["Arrival", "Gateway", "Request"]


class Request(NamedTuple):
    """What a handler is given."""

    documents: list[dict[str, Any]]
    """The documents, as dicts."""
    parameters: dict[str, Any]
    """The parameters."""
    headers: dict[str, str]
    """The headers, with names in lower case."""
    endpoint: str
    """The endpoint: `/search`."""


Handler = Callable[[Request], Any]


class Gateway:
    """A gateway that runs in this process, on free ports of 127.0.0.1, and speaks all three protocols.

    Without handlers it has the sample executor: `/upper` turns texts into capitals, `/fail` raises,
    and `/` gives the documents back.

    >>> with Gateway({"/twice": lambda request: request.documents * 2}) as gateway:
    ...     client = clientlet.Client(gateway.url)
    ...     print(len(client.post("/twice", {"text": "a"})))
    ...     print(gateway.journal[0].documents[0]["text"])
    2
    a
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        docarray: str | None = None,
        faults: Iterable[str] = (),
        seed: int | None = None,
        authorization: str | None = None,
        journal: bool = True,
        tls: bool = False,
        client_certificates: bool = False,
    ) -> None:
        """
        :param handlers: functions that answer endpoints. A handler is given a `Request`, and returns
            documents, or `None` for those that came; it is no async function. What it raises is an
            executor's exception. An assertion that fails in it is raised by `stop` as well, and so at the
            end of the `with` block, whatever the client made of it.
        :param docarray: the documents that it speaks: `v1`, the default, or `v2`.
        :param faults: what goes wrong: `status:503@1`, `reset-after@20%`, ...; the command
            `clientlet gateway --help` lists them.
        :param seed: which requests a probability strikes.
        :param authorization: the value that every request's header `Authorization` must have.
        :param journal: whether what arrives is kept, so that `journal` shows it.
        :param tls: whether it speaks TLS, with a certificate of a CA that is made for it; `ca` is what
            clients are to trust.
        :param client_certificates: whether it speaks TLS, and clients need a certificate of that CA:
            `client_certificate` makes one.
        :raises ValueError: a setting that cannot be used.
        """
        self._handlers = dict(handlers or {})
        for endpoint, handler in self._handlers.items():
            if not callable(handler) or inspect.iscoroutinefunction(handler):
                what = "an async function" if callable(handler) else type(handler).__name__
                raise TypeError(f"handlers: {endpoint}: a function that is no async one is expected, not {what}")
        if isinstance(faults, str):
            raise TypeError(f"faults: a list is expected: [{faults!r}]")
        options: dict[str, Any] = {
            "faults": list(faults), "endpoints": list(self._handlers), "tls": tls,
            "client_certificates": client_certificates,
        }  # fmt: skip
        given = {"docarray": docarray, "seed": seed, "authorization": authorization, "journal": journal}
        options.update({name: value for name, value in given.items() if value is not None})
        self._core = _core.Gateway(options)
        self._thread = None
        self._failed: list[BaseException] = []
        if self._handlers:
            functions = list(self._handlers.values())
            run = (self._core.calls, functions, self._failed)
            name = "clientlet gateway"
            self._thread = threading.Thread(target=_answer, args=run, name=name, daemon=True)
            self._thread.start()

    @property
    def url(self) -> str:
        """The URL for HTTP."""
        return self._core.urls[0]

    @property
    def http_url(self) -> str:
        """The URL for HTTP."""
        return self._core.urls[0]

    @property
    def websocket_url(self) -> str:
        """The URL for WebSocket."""
        return self._core.urls[1]

    @property
    def grpc_url(self) -> str:
        """The URL for gRPC."""
        return self._core.urls[2]

    @property
    def urls(self) -> tuple[str, str, str]:
        """The URLs for HTTP, WebSocket and gRPC."""
        return self._core.urls

    @property
    def ca(self) -> str | None:
        """The certificate of the CA that clients are to trust, in PEM; `None` without TLS."""
        return self._core.ca

    def client_certificate(self, name: str = "client") -> tuple[str, str]:
        """Makes a certificate for a client, as `clientlet.Tls(client_certificate=...)` takes it: the
        certificate and its key, in PEM. Its subject is this name.

        :raises ValueError: the gateway speaks no TLS.
        """
        return self._core.client_certificate(name)

    @property
    def journal(self) -> list[Arrival]:
        """The requests that arrived, in their order."""
        return self._core.journal

    def executor_down(self, down: bool = True) -> None:
        """Makes the executor unreachable, or reachable again."""
        self._core.executor_down(down)

    def executor_slow(self, slow: bool = True) -> None:
        """Makes the executor too slow for the gateway, or as fast as before."""
        self._core.executor_slow(slow)

    def stop(self) -> None:
        """Stops the gateway.

        :raises AssertionError: an assertion failed in a handler, or what it returned was no document.
        """
        mistakes = self._stop()
        if self._failed:
            first = self._failed[0]
            self._failed.clear()
            raise first
        if mistakes:
            raise AssertionError("; ".join(mistakes))

    def _stop(self) -> list[str]:
        mistakes = self._core.stop()
        # A handler that still runs is not waited for, nor one that stops the gateway itself.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=1)
        return mistakes

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
        else:
            # The test has failed already, and its own error says more.
            self._stop()


def _answer(calls: _core.Calls, handlers: list[Handler], failed: list[BaseException]) -> None:
    """Answers requests with the handlers until the gateway has stopped. `failed` takes what is to fail the test."""
    while (handling := calls.next()) is not None:
        try:
            number, documents, parameters, headers, endpoint = handling.parts
            request = Request(documents, parameters, headers, endpoint)
            handling.reply(handlers[number](request))
        except BaseException as error:
            # What `pytest.fail` raises is no `Exception`.
            if isinstance(error, AssertionError) or not isinstance(error, Exception):
                failed.append(error)
            handling.raise_exception(type(error).__name__, [str(arg) for arg in error.args])
