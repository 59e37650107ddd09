"""The client whose calls wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
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


class Client(Base):
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
        **unknown: Any,
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
        :param columns: documents as columns, instead of `inputs`: for each field an array of shape
            (documents, ...), which gives each document an array, or a list or an array of shape
            (documents,), which gives each document a value. The answers are columns then.
        :param parameters: parameters for the executors. All numbers become doubles.
        :param target_executor: a regular expression that chooses executors by name.
        :param request_size: documents in a request; below 1 all in one. Over HTTP a request to a gateway
            with documents v2 has at most 100, because the gateway loses the others.
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
        :param continue_on_error: whether a failed request is logged, and the others go on. What is returned
            then has only the documents that were answered, and nothing marks the places of the others.
            With `stream`, or with `on_error`, each error tells its documents (`error.input`).
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
        if unknown:
            raise unknown_to_post(unknown)
        check_callbacks(stream, on_done=on_done, on_error=on_error, on_always=on_always)
        kind, documents = _inputs.source(inputs, columns, may_await=False)
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
        # Without another thread nothing could run meanwhile.
        aside = threading.active_count() > 1
        call = self._core.post(on, kind, documents, options, converter(return_type), aside)
        if stream:
            return Stream(call, continue_on_error, progress(show_progress, kind, documents))
        bar = progress(show_progress, kind, documents)
        outcome = Outcome(return_type, on_done, on_error, on_always, continue_on_error, bar)
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
        options = self.call_options(
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
        try:
            result: Any = self._call.next()
            if result is None:
                self._bar.close()
                raise StopIteration
            self._bar.update(len(result.input or ()))
            if isinstance(result, Error) and not self._continue_on_error:
                raise result
            return result  # type: ignore[no-any-return]
        finally:
            # The traceback of an error keeps this frame, which is not to keep the call running.
            del self

    def stop(self) -> list[Result]:
        """Ends the call. Returns what became of the requests that were not taken: responses, and
        errors of those that are given up. Documents that were read of the input and had no request yet are not
        among them: at most those of one request."""
        self._bar.close()
        return self._call.stop()
