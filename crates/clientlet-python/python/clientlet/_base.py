"""What both clients share: their settings, and what becomes of a call's results."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from clientlet import _core
from clientlet._errors import CallbackError, Error
from clientlet._hook import pairs
from clientlet._models import Collected
from clientlet._options import Headers, for_client, given, policy
from clientlet._progress import Progress
from clientlet._records import Retry, Statistics

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clientlet._options import Result, Settings

_log = logging.getLogger("clientlet")

_Init = TypeVar("_Init", bound=Callable[..., None])


def _with_url(init: _Init) -> _Init:
    """Has a constructor say what to write where the URL is missing, which other clients have in parts."""

    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **settings: Any) -> None:
        if not args and "url" not in settings:
            name = type(self).__name__
            raise TypeError(
                f'{name} needs the gateway\'s URL: {name}("grpc://HOST:PORT"), or http:// or ws://; '
                "it is in place of host, port, protocol and tls"
            )
        init(self, *args, **settings)

    return __init__  # type: ignore[return-value]


class Base:
    """What both clients have: settings, and the core that is made of them."""

    @_with_url
    def __init__(self, url: str, **settings: Unpack[Settings]) -> None:
        """A client of the gateway at `url`: `http://`, `ws://` or `grpc://` and the port, or the same
        over TLS (`https://`, `wss://`, `grpcs://`). Nothing is connected before the first call.

        All times are in seconds, and `math.inf` is no limit.

        >>> clientlet.Client("http://localhost:54321", attempt_timeout=5, headers={"x-tenant": "blue"})
        Client('http://localhost:54321')

        :param headers: headers of every request.
        :param basic_auth: a user and a password.
        :param bearer_token: a token.
        :param cookies: cookies of every request.
        :param cookie_jar: whether cookies of the gateway are kept and sent back; so by default.
        :param port: the port, if it is not in the URL.
        :param retry: how often a request is sent; once by default.
        :param connect_timeout: the longest time to connect; 10 by default.
        :param attempt_timeout: the longest time of one attempt; 60 by default.
        :param idle_timeout: the longest silence while a request waits; no limit by default.
        :param channels: the number of connections that calls share over WebSocket and gRPC; 1 by default.
        :param max_connections: the most connections at a time; 256 by default.
        :param answer_limit: the largest answer, in bytes; 64 MiB by default.
        :param docarray: `v1` or `v2`, for gateways that do not say what they speak.
        :param unary: over gRPC, whether each request is a call of its own.
        :param gzip: over gRPC, whether requests are compressed.
        :param compression: whether compressed answers are asked for; so by default.
        :param websocket_json: whether messages over WebSocket are JSON; for documents v1 alone.
        :param proxy: the URL of a proxy: `http://`, `https://` or `socks5h://`.
        :param no_proxy: hosts that are reached without the proxy, as the variable `NO_PROXY` has them.
        :param proxy_from_env: whether the proxy is taken from the environment.
        :param tls: how TLS connections are secured.
        :param before_attempt: a function that is given a `NextAttempt` before each attempt, and returns
            headers for it, as a dict or as pairs, or `None`: tokens that expire, or signatures over the
            body. They replace others of the same names. Over WebSocket and on a gRPC stream the function
            is called when the connection or stream is opened. After a refusal (401, `UNAUTHENTICATED`)
            it is called once more, and the request is sent once more. It runs on a thread of its own,
            one attempt after the other, within the attempt's time, and must not use this client. It
            may be `async`; then it runs in an event loop of that thread.
        :param tracer_provider: OpenTelemetry's provider of tracers. Each call has a span, below the one that is
            current, and each attempt of a request another; their contexts are sent (`traceparent`).
        :param meter_provider: OpenTelemetry's provider of meters.
        :raises ConfigError: a setting that cannot be used.
        :raises TypeError: a setting that there is not.
        """
        self._url = url
        self._settings = settings
        self._core = _core.Core(url, for_client(settings, type(self).__name__))

    def __reduce__(self) -> tuple[Any, ...]:
        # Settings without connections. Secrets among them are in the pickle.
        return _unpickled, (type(self), self._url, self._settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.gateway!r})"

    @property
    def gateway(self) -> str:
        """The gateway's address, without user information."""
        return self._core.gateway

    def statistics(self) -> Statistics:
        """The numbers of this client, counted from its beginning in this process: requests, attempts,
        their times and outcomes, connections, bytes.

        >>> client = clientlet.Client(gateway.url)
        >>> _ = client.post("/upper", [{"text": "a"}] * 250)
        >>> client.statistics().requests.count
        3
        """
        return self._core.statistics()

    def call_options(
        self,
        parameters: Mapping[str, Any] | None,
        target_executor: str | None,
        retry: Retry | None,
        attempts: Mapping[str, float | None],
        headers: Headers | None,
        metadata: Headers | None,
        **others: Any,
    ) -> dict[str, Any]:
        """The options of a call, as the core takes them."""
        options = given(others)
        options["headers"] = pairs("headers", headers) + pairs("metadata", metadata)
        if parameters is not None:
            options["parameters"] = parameters
        if target_executor is not None:
            options["target_executor"] = target_executor
        told = given(attempts)
        if told:
            base = retry or self._settings.get("retry") or Retry(max_attempts=1)
            options["retry"] = {**policy(base), **told}
        elif retry is not None:
            options["retry"] = policy(retry)
        return options


def _unpickled(of: type[Base], url: str, settings: dict[str, Any]) -> Base:
    return of(url, **settings)


def returned(return_type: Any, inputs: Any, columns: Any) -> Any:
    """Columns are answered by columns, and a table by a table, unless something else is asked for."""
    if return_type is not None:
        return return_type
    if hasattr(inputs if columns is None else columns, "__arrow_c_stream__"):
        return "arrow"
    return None if columns is None else "columns"


def check_callbacks(stream: bool, **callbacks: Any) -> None:
    """Refuses what is no function, and callbacks that would never be called."""
    for name, callback in callbacks.items():
        if callback is None:
            continue
        if not callable(callback):
            raise TypeError(f"{name}: a function is expected, not {type(callback).__name__}")
        if inspect.iscoroutinefunction(callback):
            raise TypeError(f"{name}: an async function would not be awaited; use stream=True")
        if stream:
            raise TypeError(f"{name}: with stream=True the iterator gives the results, and no callback")


class Outcome:
    """What becomes of the results of a call that is waited for."""

    def __init__(
        self,
        return_type: Any,
        on_done: Callable[[_core.Response[Any]], Any] | None,
        on_error: Callable[[Error], Any] | None,
        on_always: Callable[[Result], Any] | None,
        continue_on_error: bool,
        bar: Progress,
    ) -> None:
        self.bar = bar
        self.on_done, self.on_error, self.on_always = on_done, on_error, on_always
        self.continue_on_error = continue_on_error
        self.collected = Collected(return_type) if on_done is None and on_always is None else None
        self.failure: Error | None = None

    def take(self, result: Result) -> None:
        """Takes a result: calls the callbacks, and keeps the documents or the first failure."""
        failed = isinstance(result, Error)
        self.bar.update(len(result.input or ()))
        if failed and self.on_error is None:
            if self.continue_on_error:
                _log.warning("%s", result)
            elif self.failure is None:
                self.failure = result  # type: ignore[assignment]
        self._call(self.on_error if failed else self.on_done, result)
        self._call(self.on_always, result)
        if not failed and self.collected is not None:
            self.collected.add(result)  # type: ignore[arg-type]

    def _call(self, callback: Callable[[Any], Any] | None, result: Result) -> None:
        if callback is None:
            return
        try:
            callback(result)
        except Exception as cause:
            error = CallbackError(f"a callback raised {type(cause).__name__}: {cause}")
            error.input = result.input
            error.request_id = result.request_id
            error.__cause__ = cause
            if not self.continue_on_error:
                raise error from cause
            _log.warning("%s", error, exc_info=cause)

    def end(self) -> Any:
        """The documents, or the first failure."""
        if self.failure is not None:
            raise self.failure
        return None if self.collected is None else self.collected.end()
