"""The clients: `Client` waits, `AsyncClient` is awaited. Their calls and settings are the same."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from clientlet import _core, _inputs
from clientlet._errors import CallbackError, Error
from clientlet._hook import pairs
from clientlet._models import Collected, converter
from clientlet._options import Headers, for_client, given, policy
from clientlet._progress import Progress, Show, progress
from clientlet._records import Endpoints, GatewayStatus, Retry, Statistics

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clientlet._options import (
        ArrowStream,
        CallOptions,
        Columns,
        Result,
        ResultOptions,
        Settings,
        StreamOptions,
        WaitOptions,
    )

_T = TypeVar("_T")
# DocArray's `DocList` is a list.
_C = TypeVar("_C", bound="list[Any]")
_R = TypeVar("_R")

_log = logging.getLogger("clientlet")


class _Base:
    """What both clients have: settings, and the core that is made of them."""

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

    def _options(
        self,
        parameters: Mapping[str, Any] | None,
        target_executor: str | None,
        retry: Retry | None,
        attempts: Mapping[str, float | None],
        headers: Headers | None,
        metadata: Headers | None,
        **others: Any,
    ) -> dict[str, Any]:
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


def _unpickled(of: type[_Base], url: str, settings: dict[str, Any]) -> _Base:
    return of(url, **settings)


def _returned(return_type: Any, inputs: Any, columns: Any) -> Any:
    """Columns are answered by columns, and a table by a table, unless something else is asked for."""
    if return_type is not None:
        return return_type
    if hasattr(inputs if columns is None else columns, "__arrow_c_stream__"):
        return "arrow"
    return None if columns is None else "columns"


def _check_callbacks(stream: bool, **callbacks: Any) -> None:
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise TypeError(f"{name}: a function is expected, not {type(callback).__name__}")
        if callback is not None and stream:
            raise TypeError(f"{name}: with stream=True the iterator gives the results, and no callback")


class _Outcome:
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


class Client(_Base):
    """A client of one gateway, for any number of threads. Its calls wait; it works inside a running
    event loop as well, which then waits too.

    A pickle of a client has its settings, with all secrets among them, and no connections. A child that
    was forked opens connections of its own.

    >>> client = clientlet.Client(gateway.grpc_url)
    >>> client.post("/upper", {"text": "hello"})[0]["text"]
    'HELLO'
    """

    # A call that is waited for returns documents, unless a callback takes them; `DocList` is a collection of its
    # own, and other classes come in a list. With `stream` there are responses. For mypy each DocArray document
    # has the Arrow interface, because of its `__getattr__`; so the answer to a table is `Any`.
    # fmt: off
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Any = None, return_type: Any = None,
        on_done: Callable[[_core.Response[Any]], Any], on_always: Callable[[Result], Any] | None = None,
        **options: Unpack[WaitOptions],
    ) -> None: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Any = None, return_type: Any = None,
        on_done: None = None, on_always: Callable[[Result], Any], **options: Unpack[WaitOptions],
    ) -> None: ...
    @overload
    def post(
        self, on: str, inputs: ArrowStream, *, columns: None = None, return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> Any: ...
    @overload
    def post(
        self, on: str, inputs: None = None, *, columns: ArrowStream, return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> _core.Table: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Literal["arrow"], **options: Unpack[ResultOptions],
    ) -> _core.Table: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: None = None,
        return_type: type[dict[str, Any]] | None = None, **options: Unpack[ResultOptions],
    ) -> list[dict[str, Any]]: ...
    @overload
    def post(
        self, on: str, inputs: None = None, *, columns: Mapping[str, Any], return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> dict[str, Any]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Literal["columns"], **options: Unpack[ResultOptions],
    ) -> dict[str, Any]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_C], **options: Unpack[ResultOptions],
    ) -> _C: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_T], **options: Unpack[ResultOptions],
    ) -> list[_T]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Any = None, continue_on_error: Literal[True], stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> Stream[_core.Response[Any] | Error]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[dict[str, Any]] | Literal["columns", "arrow"] | None = None,
        continue_on_error: Literal[False] = False, stream: Literal[True], **options: Unpack[CallOptions],
    ) -> Stream[_core.Response[list[dict[str, Any]]]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_C], continue_on_error: Literal[False] = False, stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> Stream[_core.Response[_C]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_T], continue_on_error: Literal[False] = False, stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> Stream[_core.Response[list[_T]]]: ...
    # fmt: on
    def post(
        self,
        on: str,
        inputs: Any = None,
        *,
        columns: Columns | None = None,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = 100,
        prefetch: int | None = None,
        prefetch_bytes: int | None = None,
        linger: float | None = None,
        in_order: bool = True,
        return_type: Any = None,
        on_done: Callable[[_core.Response[Any]], Any] | None = None,
        on_error: Callable[[Error], Any] | None = None,
        on_always: Callable[[Result], Any] | None = None,
        continue_on_error: bool = False,
        max_attempts: int | None = None,
        initial_backoff: float | None = None,
        max_backoff: float | None = None,
        backoff_multiplier: float | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        idle_timeout: float | None = None,
        headers: Headers | None = None,
        metadata: Headers | None = None,
        keep_documents: bool | None = None,
        show_progress: Show = False,
        stream: bool = False,
    ) -> Any:
        """Posts documents to an executor's endpoint, and returns the documents of the answers.

        >>> [document["text"] for document in client.post("/upper", [{"text": "a"}, {"text": "b"}])]
        ['A', 'B']

        Columns go out and come back as arrays, without an object for each document:

        >>> vectors = numpy.zeros((250, 768), dtype="f4")
        >>> client.post("/", columns={"embedding": vectors})["embedding"].shape
        (250, 768)

        With `stream` the answers are read while the input is:

        >>> for response in client.post("/upper", ({"text": "a"} for _ in range(250)), stream=True):
        ...     print(response.input, len(response.docs))
        range(0, 100) 100
        range(100, 200) 100
        range(200, 250) 50

        :param on: the endpoint: `/search`.
        :param inputs: a document or an iterable of documents: dicts, dataclasses, attrs, msgspec,
            pydantic and DocArray objects. Without documents one request is sent. Or a table with the
            Arrow C stream interface (pandas, polars, pyarrow), whose rows are documents; it is read
            whole. Lists of numbers in it are arrays. The answers are a table then.
        :param columns: documents as columns, instead of `inputs`: an array of two or more dimensions,
            or a list or array with one value a document, for each field. The answers are columns then.
        :param parameters: parameters for the executors. All numbers become doubles.
        :param target_executor: a regular expression that chooses executors by name.
        :param request_size: documents in a request; below 1 all in one.
        :param prefetch: requests under way at a time; 16 by default, at least 1.
        :param prefetch_bytes: bytes of requests under way at a time; 64 MiB by default.
        :param linger: seconds that a request waits for more documents of an asynchronous input before it is
            sent with fewer; 0.05 by default.
        :param in_order: whether answers come in the order of the documents.
        :param return_type: the class of the documents that are returned; dicts by default. A class of
            DocArray gives its collection (`DocList`, `DocumentArray`), `"columns"` a dict of columns,
            `"arrow"` a table with the Arrow C stream interface (`polars.DataFrame(table)`).
        :param on_done: called with each response, in place of returning documents.
        :param on_error: called with the error of each request that failed, in place of raising.
        :param on_always: called with each response and each error, after the others.
        :param continue_on_error: whether a failed request is logged, and the others go on.
        :param max_attempts: how often a request is sent at most.
        :param initial_backoff: seconds; the longest wait before the second attempt.
        :param max_backoff: seconds; the longest wait.
        :param backoff_multiplier: the growth of the longest wait.
        :param retry: all of the last four.
        :param timeout: seconds for one request with all its attempts; no limit by default.
        :param attempt_timeout: seconds for one attempt; the client's by default.
        :param idle_timeout: seconds of silence; the client's by default.
        :param headers: headers of this call, beside the client's.
        :param metadata: the same, by gRPC's name.
        :param keep_documents: whether errors have the documents of their requests.
        :param show_progress: whether a bar is shown, by tqdm or rich, where one of them is installed; or a
            function, which is told the number of documents that have ended.
        :param stream: whether an iterator of responses is returned, which holds back the input while
            it is not read.
        :raises Error: the first request that failed. With `stream`, each failed request is raised
            where its response would be; with `continue_on_error` it is an item of the iterator.
        """
        _check_callbacks(stream, on_done=on_done, on_error=on_error, on_always=on_always)
        kind, documents = _inputs.source(inputs, columns, may_await=False)
        options = self._options(
            parameters, target_executor, retry, {
                "max_attempts": max_attempts, "initial_backoff": initial_backoff,
                "max_backoff": max_backoff, "backoff_multiplier": backoff_multiplier,
            }, headers, metadata, request_size=request_size, prefetch=prefetch,
            prefetch_bytes=prefetch_bytes, linger=linger, in_order=in_order, timeout=timeout,
            attempt_timeout=attempt_timeout, idle_timeout=idle_timeout, keep_documents=keep_documents,
            stop_on_error=not stream and not continue_on_error and on_error is None,
        )  # fmt: skip
        return_type = _returned(return_type, inputs, columns)
        call = self._core.post(on, kind, documents, options, converter(return_type))
        if stream:
            return Stream(call, continue_on_error, progress(show_progress, kind, documents))
        bar = progress(show_progress, kind, documents)
        outcome = _Outcome(return_type, on_done, on_error, on_always, continue_on_error, bar)
        try:
            while (result := call.next()) is not None:
                outcome.take(result)
        finally:
            call.close()
            bar.close()
        return outcome.end()

    # fmt: off
    @overload
    def stream_doc(
        self, on: str, inputs: Any, *, return_type: type[dict[str, Any]] | None = None,
        **options: Unpack[StreamOptions],
    ) -> Iterator[dict[str, Any]]: ...
    @overload
    def stream_doc(
        self, on: str, inputs: Any, *, return_type: type[_T], **options: Unpack[StreamOptions],
    ) -> Iterator[_T]: ...
    # fmt: on
    def stream_doc(
        self,
        on: str,
        inputs: Any,
        *,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        return_type: Any = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        headers: Headers | None = None,
        metadata: Headers | None = None,
    ) -> Iterator[Any]:
        """Posts one document to an endpoint that is a generator, and gives what it yields, over HTTP
        and gRPC from gateways with documents v2.

        :param on: the endpoint.
        :param inputs: the document.
        :param return_type: the class of the documents that are returned; dicts by default.
        :param timeout: seconds for the whole stream; no limit by default.
        :param idle_timeout: seconds of silence between documents; the client's by default.
        :raises Error: why the stream ended before its end.
        """
        options = self._options(
            parameters, target_executor, retry, {}, headers, metadata,
            timeout=timeout, idle_timeout=idle_timeout,
        )  # fmt: skip
        call = self._core.stream_doc(on, inputs, options)
        convert = converter(return_type)
        return iter(_documents(call, convert))

    def ready(self) -> bool:
        """Returns `True` if the gateway and its executors can work.

        >>> client.ready()
        True

        :raises Error: why they cannot.
        """
        return self._core.ask("ready")

    def is_flow_ready(self) -> bool:
        """Whether the gateway and its executors can work. `ready` says why not."""
        try:
            return self.ready()
        except Error:
            return False

    def wait_ready(self, timeout: float) -> bool:
        """Waits until the gateway is ready, at most for `timeout` seconds.

        >>> client.wait_ready(30)
        True

        :raises Error: why it was not.
        """
        return self._core.ask("wait_ready", timeout)

    def status(self) -> GatewayStatus:
        """What the gateway says of itself.

        >>> client.status().docarray
        'v1'

        :raises Error: why it could not be asked.
        """
        return self._core.ask("status")

    def endpoints(self) -> Endpoints:
        """What can be posted to.

        >>> client.endpoints().takes_any
        True

        :raises Error: why the gateway could not be asked.
        """
        return self._core.ask("endpoints")

    def health(self, service: str = "") -> str:
        """What gRPC's health service says: `serving`, `not_serving`, `unknown` or `service_unknown`.

        :raises Error: why it could not be asked.
        """
        return self._core.ask("health", service)

    def close(self) -> None:
        """Closes the client's connections once the calls that are under way have ended. Further calls are a
        `ClosedError`. A client that is not used any more closes by itself."""
        self._core.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _documents(call: _core.DocumentCall, convert: Callable[[Any], Any] | None) -> Iterator[Any]:
    while (document := call.next()) is not None:
        yield document if convert is None else convert([document])[0]


class Stream(Generic[_R]):
    """The responses of a call, one after the other. While they are not taken, the input waits.

    >>> stream = client.post("/upper", ({"text": "a"} for _ in range(1_000_000)), stream=True)
    >>> next(stream).docs[0]["text"]
    'A'
    >>> untaken = stream.stop()
    """

    def __init__(self, call: _core.Call, continue_on_error: bool, bar: Progress) -> None:
        self._call = call
        self._continue_on_error = continue_on_error
        self._bar = bar

    def __iter__(self) -> Stream[_R]:
        return self

    def __next__(self) -> _R:
        result: Any = self._call.next()
        if result is None:
            self._bar.close()
            raise StopIteration
        self._bar.update(len(result.input or ()))
        if isinstance(result, Error) and not self._continue_on_error:
            raise result
        return result  # type: ignore[no-any-return]

    def stop(self) -> list[Result]:
        """Ends the call. Returns what became of the requests that were not taken: responses, and
        errors of those that are given up."""
        self._bar.close()
        return self._call.stop()


class AsyncClient(_Base):
    """A client of one gateway, for any number of tasks and event loops (asyncio, uvloop).

    A pickle of a client has its settings, with all secrets among them, and no connections. A child that
    was forked opens connections of its own.

    >>> async def main():
    ...     async with clientlet.AsyncClient(gateway.grpc_url) as client:
    ...         return await client.post("/upper", {"text": "hello"})
    >>> asyncio.run(main())[0]["text"]
    'HELLO'
    """

    # A call that is waited for returns documents, unless a callback takes them; `DocList` is a collection of its
    # own, and other classes come in a list. With `stream` there are responses. For mypy each DocArray document
    # has the Arrow interface, because of its `__getattr__`; so the answer to a table is `Any`.
    # fmt: off
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Any = None, return_type: Any = None,
        on_done: Callable[[_core.Response[Any]], Any], on_always: Callable[[Result], Any] | None = None,
        **options: Unpack[WaitOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Any = None, return_type: Any = None,
        on_done: None = None, on_always: Callable[[Result], Any], **options: Unpack[WaitOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @overload
    def post(
        self, on: str, inputs: ArrowStream, *, columns: None = None, return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def post(
        self, on: str, inputs: None = None, *, columns: ArrowStream, return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, _core.Table]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Literal["arrow"], **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, _core.Table]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: None = None,
        return_type: type[dict[str, Any]] | None = None, **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, list[dict[str, Any]]]: ...
    @overload
    def post(
        self, on: str, inputs: None = None, *, columns: Mapping[str, Any], return_type: None = None,
        **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Literal["columns"], **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, dict[str, Any]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_C], **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, _C]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_T], **options: Unpack[ResultOptions],
    ) -> Coroutine[Any, Any, list[_T]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: Any = None, continue_on_error: Literal[True], stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncStream[_core.Response[Any] | Error]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[dict[str, Any]] | Literal["columns", "arrow"] | None = None,
        continue_on_error: Literal[False] = False, stream: Literal[True], **options: Unpack[CallOptions],
    ) -> AsyncStream[_core.Response[list[dict[str, Any]]]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_C], continue_on_error: Literal[False] = False, stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncStream[_core.Response[_C]]: ...
    @overload
    def post(
        self, on: str, inputs: Any = None, *, columns: Columns | None = None,
        return_type: type[_T], continue_on_error: Literal[False] = False, stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncStream[_core.Response[list[_T]]]: ...
    # fmt: on
    def post(
        self,
        on: str,
        inputs: Any = None,
        *,
        columns: Columns | None = None,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = 100,
        prefetch: int | None = None,
        prefetch_bytes: int | None = None,
        linger: float | None = None,
        in_order: bool = True,
        return_type: Any = None,
        on_done: Callable[[_core.Response[Any]], Any] | None = None,
        on_error: Callable[[Error], Any] | None = None,
        on_always: Callable[[Result], Any] | None = None,
        continue_on_error: bool = False,
        max_attempts: int | None = None,
        initial_backoff: float | None = None,
        max_backoff: float | None = None,
        backoff_multiplier: float | None = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        attempt_timeout: float | None = None,
        idle_timeout: float | None = None,
        headers: Headers | None = None,
        metadata: Headers | None = None,
        keep_documents: bool | None = None,
        show_progress: Show = False,
        stream: bool = False,
    ) -> Any:
        """Posts documents like `Client.post`. The result is awaited; with `stream` it is an
        asynchronous iterator. The input may be asynchronous as well. Cancelling the task that awaits
        stops the call.

        >>> async def main():
        ...     client = clientlet.AsyncClient(gateway.url)
        ...     async for response in client.post("/upper", [{"text": "a"}] * 150, stream=True):
        ...         print(response.input)
        >>> asyncio.run(main())
        range(0, 100)
        range(100, 150)
        """
        _check_callbacks(stream, on_done=on_done, on_error=on_error, on_always=on_always)
        kind, documents = _inputs.source(inputs, columns, may_await=True)
        options = self._options(
            parameters, target_executor, retry, {
                "max_attempts": max_attempts, "initial_backoff": initial_backoff,
                "max_backoff": max_backoff, "backoff_multiplier": backoff_multiplier,
            }, headers, metadata, request_size=request_size, prefetch=prefetch,
            prefetch_bytes=prefetch_bytes, linger=linger, in_order=in_order, timeout=timeout,
            attempt_timeout=attempt_timeout, idle_timeout=idle_timeout, keep_documents=keep_documents,
            stop_on_error=not stream and not continue_on_error and on_error is None,
        )  # fmt: skip
        return_type = _returned(return_type, inputs, columns)
        call = self._core.post(on, kind, documents, options, converter(return_type))
        if stream:
            return AsyncStream(call, continue_on_error, progress(show_progress, kind, documents))
        bar = progress(show_progress, kind, documents)
        outcome = _Outcome(return_type, on_done, on_error, on_always, continue_on_error, bar)
        return _collect(call, outcome)

    # fmt: off
    @overload
    def stream_doc(
        self, on: str, inputs: Any, *, return_type: type[dict[str, Any]] | None = None,
        **options: Unpack[StreamOptions],
    ) -> AsyncIterator[dict[str, Any]]: ...
    @overload
    def stream_doc(
        self, on: str, inputs: Any, *, return_type: type[_T], **options: Unpack[StreamOptions],
    ) -> AsyncIterator[_T]: ...
    # fmt: on
    def stream_doc(
        self,
        on: str,
        inputs: Any,
        *,
        parameters: Mapping[str, Any] | None = None,
        target_executor: str | None = None,
        return_type: Any = None,
        retry: Retry | None = None,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        headers: Headers | None = None,
        metadata: Headers | None = None,
    ) -> AsyncIterator[Any]:
        """Posts one document to an endpoint that is a generator, like `Client.stream_doc`."""
        options = self._options(
            parameters, target_executor, retry, {}, headers, metadata,
            timeout=timeout, idle_timeout=idle_timeout,
        )  # fmt: skip
        call = self._core.stream_doc(on, inputs, options)
        return _documents_async(call, converter(return_type))

    async def ready(self) -> bool:
        """Returns `True` if the gateway and its executors can work.

        :raises Error: why they cannot.
        """
        return await self._core.ask_async("ready")

    async def is_flow_ready(self) -> bool:
        """Whether the gateway and its executors can work. `ready` says why not."""
        try:
            return await self.ready()
        except Error:
            return False

    async def wait_ready(self, timeout: float) -> bool:
        """Waits until the gateway is ready, at most for `timeout` seconds.

        :raises Error: why it was not.
        """
        return await self._core.ask_async("wait_ready", timeout)

    async def status(self) -> GatewayStatus:
        """What the gateway says of itself.

        :raises Error: why it could not be asked.
        """
        return await self._core.ask_async("status")

    async def endpoints(self) -> Endpoints:
        """What can be posted to.

        :raises Error: why the gateway could not be asked.
        """
        return await self._core.ask_async("endpoints")

    async def health(self, service: str = "") -> str:
        """What gRPC's health service says, like `Client.health`."""
        return await self._core.ask_async("health", service)

    async def close(self) -> None:
        """Closes the client's connections, like `Client.close`."""
        self._core.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def _collect(call: _core.Call, outcome: _Outcome) -> Any:
    try:
        while (result := await call.next_async()) is not None:
            outcome.take(result)
    finally:
        call.close()
        outcome.bar.close()
    return outcome.end()


async def _documents_async(
    call: _core.DocumentCall, convert: Callable[[Any], Any] | None
) -> AsyncIterator[Any]:
    while (document := await call.next_async()) is not None:
        yield document if convert is None else convert([document])[0]


class AsyncStream(Generic[_R]):
    """The responses of a call, one after the other. While they are not taken, the input waits."""

    def __init__(self, call: _core.Call, continue_on_error: bool, bar: Progress) -> None:
        self._call = call
        self._continue_on_error = continue_on_error
        self._bar = bar

    def __aiter__(self) -> AsyncStream[_R]:
        return self

    async def __anext__(self) -> _R:
        result: Any = await self._call.next_async()
        if result is None:
            self._bar.close()
            raise StopAsyncIteration
        self._bar.update(len(result.input or ()))
        if isinstance(result, Error) and not self._continue_on_error:
            raise result
        return result  # type: ignore[no-any-return]

    def stop(self) -> list[Result]:
        """Ends the call, like `Stream.stop`."""
        self._bar.close()
        return self._call.stop()
