"""The client whose calls are awaited. It takes what `Client` takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from clientlet import _core, _inputs
from clientlet._base import Base, Outcome, check_callbacks, returned
from clientlet._errors import Error
from clientlet._models import converter
from clientlet._options import Headers, unknown_to_post
from clientlet._progress import Progress, Show, progress
from clientlet._records import Endpoints, GatewayStatus, Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clientlet._options import (
        ArrowStream,
        CallOptions,
        Columns,
        Result,
        ResultOptions,
        StreamOptions,
        WaitOptions,
    )

_T = TypeVar("_T")
# DocArray's `DocList` is a list.
_C = TypeVar("_C", bound="list[Any]")
_R = TypeVar("_R")


class AsyncClient(Base):
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
        **unknown: Any,
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
        if unknown:
            raise unknown_to_post(unknown)
        check_callbacks(stream, on_done=on_done, on_error=on_error, on_always=on_always)
        kind, documents = _inputs.source(inputs, columns, may_await=True)
        options = self.call_options(
            parameters, target_executor, retry, {
                "max_attempts": max_attempts, "initial_backoff": initial_backoff,
                "max_backoff": max_backoff, "backoff_multiplier": backoff_multiplier,
            }, headers, metadata, request_size=request_size, prefetch=prefetch,
            prefetch_bytes=prefetch_bytes, linger=linger, in_order=in_order, timeout=timeout,
            attempt_timeout=attempt_timeout, idle_timeout=idle_timeout, keep_documents=keep_documents,
            stop_on_error=not stream and not continue_on_error and on_error is None,
        )  # fmt: skip
        return_type = returned(return_type, inputs, columns)
        call = self._core.post(on, kind, documents, options, converter(return_type), True)
        if stream:
            return AsyncStream(call, continue_on_error, progress(show_progress, kind, documents))
        bar = progress(show_progress, kind, documents)
        outcome = Outcome(return_type, on_done, on_error, on_always, continue_on_error, bar)
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
        options = self.call_options(
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


async def _collect(call: _core.Call, outcome: Outcome) -> Any:
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
        try:
            result: Any = await self._call.next_async()
            if result is None:
                self._bar.close()
                raise StopAsyncIteration
            self._bar.update(len(result.input or ()))
            if isinstance(result, Error) and not self._continue_on_error:
                raise result
            return result  # type: ignore[no-any-return]
        finally:
            # The traceback of an error keeps this frame, which is not to keep the call running.
            del self

    def stop(self) -> list[Result]:
        """Ends the call, like `Stream.stop`."""
        self._bar.close()
        return self._call.stop()
