"""What stands in for the methods of jina's clients."""

# jina and what it needs are not installed where types are checked, so its objects are `Any`.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return,valid-type"

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import itertools
import logging
import math
import os
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import jina
from jina._docarray import Document, DocumentArray, docarray_v2
from jina.clients import mixin
from jina.clients.base import BaseClient
from jina.clients.base.grpc import GRPCBaseClient
from jina.clients.base.http import HTTPBaseClient
from jina.clients.base.websocket import WebSocketBaseClient
from jina.clients.helper import _safe_callback, callback_exec
from jina.clients.request.helper import _add_docs, _new_doc_from_data
from jina.enums import DataInputType
from jina.excepts import BadServer
from jina.logging.profile import ProgressBar
from jina.types.request.data import DataRequest

from clientlet import _core
from clientlet._errors import Error, ExecutorError, NotFoundError
from clientlet._inputs import feeding
from clientlet._jina_answers import Answer, _converter, failed
from clientlet._jina_errors import OF_THE_CALL, description, exception

_log = logging.getLogger("clientlet.jina")

_SCHEMES = {"http": "http", "websocket": "ws", "grpc": "grpc"}
_SECURE = {"http": "https", "websocket": "wss", "grpc": "grpcs"}
_PROTOCOLS = {HTTPBaseClient: "http", WebSocketBaseClient: "websocket", GRPCBaseClient: "grpc"}

# Seconds. The limit that aiohttp sets by default; over WebSocket and gRPC jina sets none.
_HTTP_TIMEOUT = 300.0
# Jina's own clients set no limit to an answer; this is the most that a message of protobuf can have.
_ANSWER_LIMIT = 2**31 - 1
_PREFETCH = 1000
_MOST_PREFETCH = 2**31 - 1

_told: set[str] = set()
_lock = threading.Lock()


def _protocol(client: Any) -> str:
    for of, protocol in _PROTOCOLS.items():
        if isinstance(client, of):
            return protocol
    raise TypeError(f"{type(client).__name__} is no client of jina")


def _tell(reason: str) -> None:
    """Says once that jina's own code does a call, and why."""
    _tell_once(f"jina's own client does this call and others like it (this is said once): {reason}")


def _tell_once(what: str) -> None:
    if what not in _told:
        _told.add(what)
        _log.warning("%s", what)


def _unable(client: Any, options: Mapping[str, Any]) -> str | None:
    """Why the core cannot do a call; `None` if it can."""
    if not isinstance(client, GRPCBaseClient):
        return None
    if options.get("credentials") is not None:
        return "credentials: call credentials of gRPC are objects of grpcio"
    if getattr(client.args, "grpc_channel_options", None):
        return "grpc_channel_options: they are for the channels of grpcio"
    if options.get("compression") not in (None, "NoCompression", "Gzip"):
        return f"compression: {options['compression']!r} is neither 'Gzip' nor 'NoCompression'"
    return None


def _core_of(client: Any, protocol: str, **settings: Any) -> _core.Core:
    """The core for these settings, which is kept as long as jina's client, and closed with it."""
    args = client.args
    scheme = (_SECURE if args.tls else _SCHEMES)[protocol]
    url = f"{scheme}://{args.host}:{args.port}"
    if client.tracing:
        settings["tracer_provider"] = client.tracer_provider
    if client.metrics:
        settings["meter_provider"] = client.meter_provider
    key = (url, *sorted((name, _hashable(value)) for name, value in settings.items()))
    cores = client.__dict__.get("_clientlet_cores")
    if cores is not None and key in cores:
        return cores[key]
    options: dict[str, Any] = {
        "headers": [],
        "docarray": "v2" if docarray_v2 else "v1",
        "attempt_timeout": _HTTP_TIMEOUT if protocol == "http" else math.inf,
        "answer_limit": _ANSWER_LIMIT,
        "cookie_jar": bool(getattr(args, "reuse_session", False)),
        "proxy_from_env": bool(args.proxy),
    }
    roots = os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    if protocol == "grpc" and args.tls and roots:
        options["tls"] = {"ca": [roots], "without_system_roots": True}
    options.update((name, value) for name, value in settings.items() if value)
    made = _core.Core(url, options)
    if protocol == "websocket" and jina.__version__.startswith("3.14."):
        # A gateway of this release does not end while a WebSocket is open. So the core ends with the call.
        return made
    with _lock:
        return client.__dict__.setdefault("_clientlet_cores", {}).setdefault(key, made)


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _headers(protocol: str, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of a call: those that are given, and what `auth` and `cookies` come to; over gRPC the
    metadata."""
    if protocol == "grpc":
        return [(str(name), _metadata(str(name), value)) for name, value in options.get("metadata") or ()]
    given = options.get("headers") or {}
    pairs = given.items() if hasattr(given, "items") else given
    headers = [(str(name), str(value)) for name, value in pairs]
    auth = options.get("auth")
    if auth:
        user, word, *encoding = auth
        told = b64encode(f"{user}:{word}".encode(*encoding)).decode()
        headers.append(("authorization", f"Basic {told}"))
    cookies = options.get("cookies")
    if cookies:
        pairs = cookies.items() if hasattr(cookies, "items") else cookies
        told = "; ".join(f"{name}={getattr(value, 'value', value)}" for name, value in pairs)
        headers.append(("cookie", told))
    return headers


def _metadata(name: str, value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    # grpcio takes the bytes of these as they are.
    return b64encode(value).decode() if name.endswith("-bin") else value.decode()


def _parameters(parameters: Any) -> Any:
    if parameters is None or isinstance(parameters, Mapping):
        return parameters
    try:
        # A model of pydantic gives its fields. A list of pairs would too, but jina refuses it.
        if not isinstance(parameters, (list, tuple)):
            return dict(parameters)
    except (TypeError, ValueError):
        pass
    name = type(parameters).__name__
    raise TypeError(f"parameters: a dict or a pydantic model is expected, not {name}")


def _prefetch(client: Any, options: Mapping[str, Any]) -> int:
    """How many requests are under way at a time. Below 1 jina sets no limit."""
    given = int(options.get("prefetch") or client.args.prefetch or _PREFETCH)
    return min(given, _MOST_PREFETCH) if given > 0 else _PREFETCH


def _time_limit(options: Mapping[str, Any]) -> float | None:
    """The time for each attempt, in seconds; `None` if there is no limit, which 0 and less stand for."""
    timeout = options.get("timeout")
    if timeout is not None and not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout: a number of seconds is expected, not {type(timeout).__name__}")
    return timeout if timeout and timeout > 0 else None


def _endpoint(protocol: str, options: Mapping[str, Any]) -> Any:
    endpoint = options["exec_endpoint"] if "exec_endpoint" in options else options.get("on", "/post")
    if protocol == "http" and docarray_v2 and isinstance(endpoint, str):
        # It is the path of an address, in which jina cares for no slash at either end.
        return "/" + endpoint.strip("/")
    return endpoint


class _Input:
    """The documents of a call, as `_get_requests` of jina's clients takes them."""

    def __init__(
        self, inputs: Any, request_size: int, data_type: Any, total: int | None, waits: bool
    ) -> None:
        if hasattr(inputs, "__call__"):
            inputs = inputs()
        self.request_size = request_size
        sized = len(inputs) if hasattr(inputs, "__len__") else total
        self.length = max(1, sized / request_size) if sized and request_size else None
        if inputs is None:
            self.kind, self.documents = "none", None
        elif inspect.isasyncgen(inputs):
            # Jina sends each document of an asynchronous generator alone if the size is below 1.
            self.request_size = max(request_size, 1)
            self.kind, self.documents = "feed", feeding(_checked_async(inputs, self.request_size, data_type))
        else:
            self.kind = "documents"
            if not isinstance(inputs, Iterable) or isinstance(inputs, Document):
                inputs = [inputs]
            self.documents = inputs if _is_uniform(inputs) else _checked(inputs, request_size, data_type)
            if not waits and isinstance(inputs, Iterator):
                self.kind, self.documents = "feed", feeding(_aside(self.documents, request_size))


def _is_uniform(inputs: Any) -> bool:
    """Whether this is a collection of documents, whose class has seen them already."""
    if not isinstance(inputs, DocumentArray):
        return False
    return not docarray_v2 or _converter(type(inputs)) is not None


def _checked(inputs: Iterable[Any], request_size: int, data_type: Any) -> Iterator[Any]:
    """Makes documents of what is given, as jina does for the documents of a request."""
    batch = _Batch(request_size, data_type)
    for content in inputs:
        yield batch.document(content)


async def _checked_async(inputs: Any, request_size: int, data_type: Any) -> AsyncIterator[Any]:
    batch = _Batch(request_size, data_type)
    try:
        async for content in inputs:
            yield batch.document(content)
    finally:
        await inputs.aclose()


async def _aside(documents: Iterator[Any], request_size: int) -> AsyncIterator[Any]:
    """Reads an iterator, which may block, on another thread than that of the event loop: the documents of
    one request at a time."""
    loop = asyncio.get_running_loop()
    size = request_size if request_size and request_size > 0 else 100
    context = contextvars.copy_context()

    def some() -> tuple[list[Any], BaseException | None]:
        read: list[Any] = []
        try:
            read.extend(itertools.islice(documents, size))
        except BaseException as error:
            return read, error
        return read, None

    while True:
        read, error = await loop.run_in_executor(None, context.run, some)
        for document in read:
            yield document
        if error is not None:
            raise error
        if len(read) < size:
            return


class _Batch:
    """The documents of one request after the other: the first one says what the others are."""

    def __init__(self, request_size: int, data_type: Any) -> None:
        self._size = request_size if request_size and request_size > 0 else -1
        self._data_type = data_type
        self._left = 0
        self._kind = data_type
        self._of: Any = None
        self._first: Any = None

    def document(self, content: Any) -> Any:
        if self._left == 0:
            self._left = self._size
            self._kind, self._of = self._data_type, None
        self._left -= 1
        if docarray_v2:
            of = type(content)
            if of is self._of:
                return content
            if self._of is not None and isinstance(content, self._of):
                return content
            if self._of is None:
                if isinstance(content, Document):
                    self._of, self._first = of, content
                    return content
                # Jina says "Expecting a type, got object instead".
                raise TypeError(f"inputs: a document of docarray (BaseDoc) is expected, not {of.__name__}")
            # Jina's own code says what is wrong with it.
            _add_docs(DataRequest(), [self._first, content], self._kind)
            return content
        if self._kind in (DataInputType.AUTO, DataInputType.DOCUMENT) and isinstance(content, Document):
            self._kind = DataInputType.DOCUMENT
            return content
        document, self._kind = _new_doc_from_data(content, self._kind)
        if document.tensor is not None:
            _check_array(document.tensor, content)
        return document


def _check_array(tensor: Any, content: Any) -> None:
    """Refuses what DocArray does not send as an array: a number, for example."""
    from docarray.math.ndarray import get_array_type

    try:
        get_array_type(tensor)
    except TypeError as error:
        what = "a document, text, bytes or an array" if tensor is content else "an array as tensor"
        raise TypeError(f"inputs: {what} is expected, not {type(tensor).__name__}") from error


def _of_failure(client: Any, protocol: str, error: Error, endpoint: str, on_error: Any) -> Any:
    """Makes the answer of a request that failed, or raises what jina would.

    With `continue_on_error` each request has a result of its own. An executor's exception is an answer
    on all protocols, as the handlers of errors want it."""
    if isinstance(error, ExecutorError) and error.response is not None:
        return Answer(error.response, DocumentArray)
    is_handled = client.continue_on_error or (on_error and isinstance(error, ExecutorError))
    if not is_handled or isinstance(error, OF_THE_CALL):
        _raise(client, protocol, error)
    return failed(description(error), error.exception, error.request_id, endpoint)


def _raise(client: Any, protocol: str, error: Error) -> NoReturn:
    """Raises jina's exception for an error, which is its cause."""
    raised = exception(client, protocol, error)
    if raised is error or raised is error.__cause__:
        raise raised
    raise raised from error


def _loop_needed(waits: bool) -> None:
    if waits:
        raise _NeedsLoop


def _results(original: Any) -> Any:
    """Makes the method that stands in for `_get_results`."""

    async def _get_results(
        self: Any,
        inputs: Any,
        on_done: Any,
        on_error: Any = None,
        on_always: Any = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        reason = _unable(self, options)
        waits = _waits()
        if reason is not None:
            _loop_needed(waits)
            _tell(reason)
            own = original(self, inputs, on_done, on_error, on_always, **options)
            async with contextlib.aclosing(own):
                async for answer in own:
                    yield answer
            return
        protocol = _protocol(self)
        endpoint = _endpoint(protocol, options)
        call, length = _begun(self, protocol, endpoint, inputs, on_error, options, waits)
        # What the documents of an answer are before the caller says it: as jina has it, over HTTP what is to
        # be returned.
        of = DocumentArray
        if protocol == "http" and docarray_v2:
            of = options.get("return_type") or DocumentArray
            of = of if issubclass(of, DocumentArray) else DocumentArray[of]
        with contextlib.ExitStack() as stack:
            stack.callback(call.close)
            bar = None
            if self.show_progress:
                bar = stack.enter_context(ProgressBar(total_length=length))
            while (result := call.next() if waits else await call.next_async()) is not None:
                if isinstance(result, Error):
                    answer = _of_failure(self, protocol, result, endpoint, on_error)
                    callback_exec(
                        response=answer, logger=self.logger, on_error=on_error, on_done=on_done,
                        on_always=on_always, continue_on_error=self.continue_on_error,
                    )  # fmt: skip
                else:
                    answer = Answer(result, of)
                    # As `callback_exec` does, which opens each answer.
                    for callback in (on_done, on_always):
                        if callback:
                            _safe_callback(callback, self.continue_on_error, self.logger)(answer)
                if bar is not None:
                    bar.update()
                yield answer

    return _get_results


def _begun(
    client: Any,
    protocol: str,
    endpoint: str,
    inputs: Any,
    on_error: Any,
    options: Mapping[str, Any],
    waits: bool,
) -> tuple[_core.Call, float | None]:
    """Begins a call. Returns it, and the number of its requests where it is known."""
    request_size = options.get("request_size", 100)
    data_type = options.get("data_type", DataInputType.AUTO)
    given = _Input(inputs, request_size, data_type, options.get("total_docs"), waits)
    settings: dict[str, Any] = {}
    if protocol == "grpc":
        settings = {
            "unary": not options.get("stream", True),
            "gzip": options.get("compression") == "Gzip",
        }
    call: dict[str, Any] = {
        "is_for_jina": True,
        "headers": _headers(protocol, options),
        "parameters": _parameters(options.get("parameters")),
        "request_size": given.request_size or 0,
        "prefetch": _prefetch(client, options),
        "in_order": bool(options.get("results_in_order")),
        "stop_on_error": not client.continue_on_error and on_error is None,
        "retry": _retry(options),
        # Over gRPC without `stream` and over HTTP jina's time is that of a request too.
        "attempt_timeout": _time_limit(options),
        "target_executor": options.get("target_executor") or None,
    }
    call = {name: value for name, value in call.items() if value is not None}
    core = _core_of(client, protocol, **settings)
    return core.post(endpoint, given.kind, given.documents, call, None, not waits), given.length


def _retry(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "max_attempts": max(int(options.get("max_attempts", 1)), 1),
        "initial_backoff": _wait(options.get("initial_backoff", 0.5)),
        "max_backoff": _wait(options.get("max_backoff", 0.1)),
        "backoff_multiplier": options.get("backoff_multiplier", 1.5),
        "at_most_once": False,
    }


def _wait(seconds: Any) -> Any:
    return 0 if isinstance(seconds, (int, float)) and seconds < 0 else seconds


def _ready(original: Any) -> Any:
    """Makes the method that stands in for `_is_flow_ready`."""

    async def _is_flow_ready(self: Any, **options: Any) -> bool:
        reason = _unable(self, options)
        waits = _waits()
        if reason is not None:
            _loop_needed(waits)
            _tell(reason)
            return await original(self, **options)
        protocol = _protocol(self)
        if options.get("timeout"):
            _loop_needed(waits)
        try:
            core = _core_of(self, protocol, headers=_headers(protocol, options))
            if waits:
                return core.ask("ready")
            await asyncio.wait_for(_asked(core), options.get("timeout") or None)
        except Exception as error:
            self.logger.error(f"Error while asking whether the Flow is ready: {error!r}")
            return False
        return True

    return _is_flow_ready


async def _asked(core: _core.Core) -> bool:
    return await core.ask_async("ready")


def _streaming(original: Any) -> Any:
    """Makes the method that stands in for `_get_streaming_results`."""

    async def _get_streaming_results(
        self: Any,
        on: str,
        inputs: Any,
        parameters: Any = None,
        return_type: Any = Document,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        reason = _unable(self, options)
        if not docarray_v2:
            reason = "stream_doc: documents v1 are streamed by jina's own client alone"
        if reason is not None:
            _tell(reason)
            own = original(
                self, on=on, inputs=inputs, parameters=parameters, return_type=return_type, timeout=timeout,
                **options,
            )  # fmt: skip
            async with contextlib.aclosing(own):
                async for document in own:
                    yield document
            return
        protocol = _protocol(self)
        call: dict[str, Any] = {"is_for_jina": True, "headers": _headers(protocol, options)}
        limit = _time_limit({"timeout": timeout})
        if limit is not None:
            call["timeout"] = limit
        told = {name: value for name, value in (_parameters(parameters) or {}).items() if value != {}}
        if told and protocol == "http":
            _tell_once("stream_doc over HTTP sends no parameters, for which gateways have no place there; use gRPC")
        elif told:
            call["parameters"] = told
        convert = _converter(DocumentArray[return_type])
        try:
            documents = _core_of(self, protocol).stream_doc(on, inputs, call)
            while (document := await documents.next_async()) is not None:
                yield return_type(**document) if convert is None else convert([document])[0]
        except Error as error:
            if isinstance(error, (ExecutorError, NotFoundError)):
                answer = failed(description(error), error.exception, error.request_id, on)
                raise BadServer(answer.header) from error
            _raise(self, protocol, error)

    return _get_streaming_results


def _closing(original: Any) -> Any:
    """Makes the method that stands in for `close`: it closes the cores too."""

    async def close(self: Any) -> Any:
        try:
            result = original(self)
            # Over HTTP jina returns the coroutine that it was to wait for.
            while inspect.isawaitable(result):
                result = await result
            return result
        finally:
            for core in self.__dict__.pop("_clientlet_cores", {}).values():
                core.close()

    return close


def _constructing(original: Any) -> Any:
    """Makes the constructor that leaves the process's variables of proxies alone."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        for name in ("http_proxy", "https_proxy"):
            if name in os.environ:
                os.putenv(name, os.environ[name])

    return __init__


def _once(original: Any) -> Any:
    """Makes the method that stands in for `_with_retry`, which sends a whole stream again. The core sends
    again what was not answered."""

    def _with_retry(self: Any, func: Any, inputs: Any, **options: Any) -> Any:
        if _unable(self.client, options) is not None:
            return original(self, func=func, inputs=inputs, **options)
        return mixin.run_async(func, inputs=inputs, **options)

    return _with_retry


class _NeedsLoop(Exception):
    """A call that cannot be done without an event loop."""


_thread = threading.local()
"""Whether the next method of a client that this thread calls is to wait, and not to be awaited."""


def _waits() -> bool:
    """Takes the word that is left for the method: calls that its callbacks make are calls of their own."""
    waits = getattr(_thread, "is_to_wait", False)
    _thread.is_to_wait = False
    return waits


def _running(original: Any) -> Any:
    """Makes the function that stands in for `run_async`. A call of a synchronous client waits on its own
    thread: it needs no event loop, which would cost more than the call. Where a loop runs already, as in
    notebooks, what was raised is raised, and not that there is no result."""

    def run_async(func: Any, *args: Any, **kwargs: Any) -> Any:
        if func.__name__ in ("_get_results", "_is_flow_ready"):
            inputs = kwargs.get("inputs")
            if hasattr(inputs, "__call__"):
                inputs = kwargs["inputs"] = inputs()
            try:
                if not hasattr(inputs, "__aiter__"):
                    return _driven(func(*args, **kwargs))
            except _NeedsLoop:
                pass
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return original(func, *args, **kwargs)
        return _in_thread(func, *args, **kwargs)

    return run_async


def _driven(coroutine: Any) -> Any:
    """Runs a coroutine whose methods of clients wait."""
    _thread.is_to_wait = True
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    finally:
        _thread.is_to_wait = False
        coroutine.close()
    raise _NeedsLoop


def _in_thread(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Runs a coroutine in a loop of a thread of its own."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["result"] = asyncio.run(func(*args, **kwargs))
        except BaseException as error:
            outcome["raised"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "raised" in outcome:
        raise outcome["raised"]
    return outcome["result"]


REPLACED: list[tuple[Any, str, Callable[[Any], Any]]] = [
    *((of, "_get_results", _results) for of in _PROTOCOLS),
    *((of, "_is_flow_ready", _ready) for of in _PROTOCOLS),
    *((of, "_get_streaming_results", _streaming) for of in _PROTOCOLS),
    (BaseClient, "close", _closing),
    (HTTPBaseClient, "close", _closing),
    (BaseClient, "__init__", _constructing),
    (mixin.PostMixin, "_with_retry", _once),
    (mixin, "run_async", _running),
]
"""The classes, the names of their methods, and what makes the method that stands in for an original."""
