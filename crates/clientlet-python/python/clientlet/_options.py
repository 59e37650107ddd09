"""What clients and calls can be told, and the form in which the core takes it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, Union

from clientlet._errors import Error
from clientlet._hook import BeforeAttempt, pairs, starting
from clientlet._progress import Show
from clientlet._records import Retry, Tls

if TYPE_CHECKING:
    from clientlet._core import Response

    Result = Union[Response[Any], Error]

Headers = Union[Mapping[str, str], Iterable[tuple[str, str]]]


class ArrowStream(Protocol):
    """A table with the Arrow C stream interface: of pandas, polars or pyarrow."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...


Columns = Union[Mapping[str, Any], ArrowStream]


class Settings(TypedDict, total=False):
    """The settings of a client; the documentation of `Client` tells what they mean."""

    headers: Headers | None
    basic_auth: tuple[str, str] | None
    bearer_token: str | None
    cookies: Headers | None
    cookie_jar: bool | None
    port: int | None
    retry: Retry | None
    connect_timeout: float | None
    attempt_timeout: float | None
    idle_timeout: float | None
    channels: int | None
    max_connections: int | None
    answer_limit: int | None
    docarray: Literal["v1", "v2"] | None
    unary: bool | None
    gzip: bool | None
    compression: bool | None
    websocket_json: bool | None
    proxy: str | None
    no_proxy: str | None
    proxy_from_env: bool | None
    tls: Tls | None
    before_attempt: BeforeAttempt | None
    tracer_provider: Any
    meter_provider: Any


class CallOptions(TypedDict, total=False):
    """The options of `post` on which the type of its result does not depend."""

    parameters: Mapping[str, Any] | None
    target_executor: str | None
    request_size: int
    prefetch: int | None
    prefetch_bytes: int | None
    linger: float | None
    in_order: bool
    max_attempts: int | None
    initial_backoff: float | None
    max_backoff: float | None
    backoff_multiplier: float | None
    retry: Retry | None
    timeout: float | None
    attempt_timeout: float | None
    idle_timeout: float | None
    headers: Headers | None
    metadata: Headers | None
    keep_documents: bool | None
    show_progress: Show


class WaitOptions(CallOptions, total=False):
    """The options of a call that is waited for to its end."""

    on_error: Callable[[Error], Any] | None
    continue_on_error: bool
    stream: Literal[False]


class ResultOptions(WaitOptions, total=False):
    """The options of a call that returns documents: no callback takes them."""

    on_done: None
    on_always: None


class StreamOptions(TypedDict, total=False):
    """The options of `stream_doc` on which the type of its result does not depend."""

    parameters: Mapping[str, Any] | None
    target_executor: str | None
    retry: Retry | None
    timeout: float | None
    idle_timeout: float | None
    headers: Headers | None
    metadata: Headers | None


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are not `None`."""
    return {name: value for name, value in options.items() if value is not None}


def for_client(settings: Mapping[str, Any], class_name: str) -> dict[str, Any]:
    """The settings of a client, as the core takes them."""
    known = Settings.__annotations__
    for name in settings:
        if name not in known:
            raise TypeError(f"{class_name} has no setting {name!r}{_advice(name, _ELSEWHERE, known)}")
    options = given(settings)
    options["headers"] = pairs("headers", settings.get("headers"))
    if "cookies" in options:
        options["cookies"] = pairs("cookies", options["cookies"])
    if "retry" in options:
        options["retry"] = policy(options["retry"])
    if "tls" in options:
        options["tls"] = _tls(options["tls"])
    if "before_attempt" in options:
        options["before_attempt"] = starting(options["before_attempt"])
    return options


# What settings of other clients are here.
_ELSEWHERE = {
    "host": "the URL has it: grpc://HOST:PORT",
    "protocol": "the URL says it: http://, ws:// or grpc://",
    "asyncio": "AsyncClient is awaited",
    "timeout": "attempt_timeout, or the timeout of a call",
    "retries": "retry=Retry(max_attempts=3)",
    "max_attempts": "retry=Retry(max_attempts=3), or max_attempts of a call",
    "ca": "tls=Tls(ca=...)",
    "verify": "tls=Tls(ca=...)",
    "auth": "basic_auth or bearer_token",
}


# What arguments of the `post` of other clients are here.
_ELSEWHERE_FOR_POST = {
    "return_responses": "stream=True gives the responses",
    "results_in_order": "results are in order, unless in_order=False",
    "compression": "over gRPC the client's setting gzip=True compresses requests",
    "credentials": "of the client: tls=Tls(...), bearer_token or before_attempt",
    "docs": "inputs",
    "exec_endpoint": "on",
    "batch_size": "request_size",
    "retries": "max_attempts",
    "asyncio": "AsyncClient is awaited",
}


def unknown_to_post(names: Iterable[str]) -> TypeError:
    """The error for arguments that `post` does not have, which says what to use."""
    name = next(iter(names))
    known = (*WaitOptions.__annotations__, "inputs", "columns", "return_type", "on_done", "on_always")
    if name in Settings.__annotations__ and name not in _ELSEWHERE_FOR_POST:
        return TypeError(f"post has no argument {name!r} (it is a setting of the client)")
    return TypeError(f"post has no argument {name!r}{_advice(name, _ELSEWHERE_FOR_POST, known)}")


def _advice(name: str, elsewhere: Mapping[str, str], known: Iterable[str]) -> str:
    advice = elsewhere.get(name)
    if advice is None:
        close = difflib.get_close_matches(name, known, 1)
        advice = f"perhaps {close[0]}" if close else None
    return f" ({advice})" if advice else ""


def policy(retry: Retry) -> dict[str, Any]:
    """The parts of a policy."""
    if not isinstance(retry, Retry):
        raise TypeError(f"retry: a Retry is expected, not {type(retry).__name__}")
    return dict(vars(retry))


def _tls(tls: Tls) -> dict[str, Any]:
    if not isinstance(tls, Tls):
        raise TypeError(f"tls: a Tls is expected, not {type(tls).__name__}")
    options = given(vars(tls))
    options["ca"] = list(tls.ca) if isinstance(tls.ca, (list, tuple)) else [tls.ca]
    return options
