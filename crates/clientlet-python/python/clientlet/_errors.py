"""The exceptions: one class for each kind of failure, all of them `Error`.

Many are also what callers of other clients catch: `ConnectionError`, `TimeoutError`, `ValueError`.
"""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

from clientlet._records import Attempt, ExecutorException

if TYPE_CHECKING:
    from clientlet._core import Response


class Error(Exception):
    """A request, a question or a setting failed. The text is one line that says what and where.

    >>> try:
    ...     client.post("/fail", {"text": "a"})
    ... except clientlet.Error as error:
    ...     print(error.kind, error.delivery, error.may_have_run, error.exception.name)
    executor answered True ValueError
    """

    kind: str = "error"
    """What went wrong, in one word; each class has its own."""
    message: str = ""
    """The text without the gateway, the request and its documents."""
    delivery: str = "not_sent"
    """Whether the request reached the gateway: `not_sent`, `answered` or `unknown`."""
    may_have_run: bool = False
    """Whether an executor may have worked on the request. If not, sending it again does no harm."""
    is_retryable: bool = False
    """Whether another attempt may succeed."""
    retry_after: float | None = None
    """Seconds that the gateway asked to wait before another attempt."""
    attempts: list[Attempt] = []
    """All attempts of the request, in order."""
    documents: list[Any] | None = None
    """The documents of the request, if the call keeps them (`keep_documents`)."""
    input: range | None = None
    """The documents of the call that the request carried, counted from 0."""
    request_id: str | None = None
    """The id of the request."""
    gateway: str | None = None
    """The gateway's address, without user information."""
    protocol: str | None = None
    """`http`, `ws` or `grpc`."""
    elapsed: float = 0.0
    """Seconds from the first attempt to the end."""
    hint: str | None = None
    """What may help, where the client can tell."""
    http_status: int | None = None
    """The HTTP status with which the last attempt was answered."""
    grpc_code: str | None = None
    """The gRPC code with which the last attempt was answered."""
    close_code: int | None = None
    """The code with which the gateway closed the WebSocket."""
    exception: ExecutorException | None = None
    """What the executor raised."""
    response: Response[Any] | None = None
    """The answer that carried the failure."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A response belongs to its process, so a copy of the exception goes without.
        facts = {name: value for name, value in self.__dict__.items() if name != "response"}
        return _again, (type(self), self.args, facts)


def _again(of: type[Error], args: tuple[Any, ...], facts: dict[str, Any]) -> Error:
    error = of(*args)
    error.__dict__.update(facts)
    return error


class ConfigError(Error, ValueError):
    """A setting, URL or option that cannot be used."""

    kind = "config"


class EncodeError(Error, ValueError):
    """A document or parameter that cannot be sent; the text names the document and the field."""

    kind = "encode"


class InputError(Error):
    """The caller's input raised. `__cause__` is what it raised."""

    kind = "input"


class CallbackError(Error):
    """A callback raised. `__cause__` is what it raised."""

    kind = "callback"


class ConnectError(Error, ConnectionError):
    """No connection could be made."""

    kind = "connect"


class TlsError(Error, ConnectionError):
    """No secure connection could be made."""

    kind = "tls"


class TransportError(Error, ConnectionError):
    """The connection broke before the answer was complete."""

    kind = "transport"


class ClosedError(Error, ConnectionError):
    """The client or its connection was closed already."""

    kind = "closed"


class TimeoutError(Error, builtins.TimeoutError):
    """Time ran out: of an attempt, of the request, or the gateway's own."""

    kind = "timeout"


class RateLimitedError(Error):
    """The gateway asked for fewer requests."""

    kind = "rate_limited"


class NotFoundError(Error, ValueError):
    """The gateway does not have what was asked for."""

    kind = "not_found"


class GatewayError(Error, ConnectionError):
    """The gateway refused the request, or could not reach an executor."""

    kind = "gateway"


class ExecutorError(Error):
    """An executor raised; `exception` is what."""

    kind = "executor"


class DecodeError(Error, ValueError):
    """An answer that cannot be read, or not as what was asked for."""

    kind = "decode"


class TooLargeError(Error, ValueError):
    """An answer beyond a limit of this client."""

    kind = "too_large"


class Cancelled(Error):
    """The call was given up before the request ended."""

    kind = "cancelled"


class InternalError(Error):
    """A bug of this package."""

    kind = "internal"


_CLASSES: dict[str, type[Error]] = {
    of.kind: of
    for of in (
        ConfigError,
        EncodeError,
        InputError,
        CallbackError,
        ConnectError,
        TlsError,
        TransportError,
        ClosedError,
        TimeoutError,
        RateLimitedError,
        NotFoundError,
        GatewayError,
        ExecutorError,
        DecodeError,
        TooLargeError,
        Cancelled,
        InternalError,
    )
}


_HINTS = {
    "connect": "is the address right, and is the gateway running there? wait_ready(60) waits for it",
}
"""What may help against a kind of failure for which the core knows nothing better."""


def of_kind(kind: str, message: str, facts: dict[str, Any]) -> Error:
    """Makes the exception for a failure of the core."""
    error = _CLASSES.get(kind, Error)(message)
    if kind in _HINTS and facts.get("hint") is None:
        facts["hint"] = _HINTS[kind]
    if "attempts" in facts:
        facts["attempts"] = [Attempt(*attempt) for attempt in facts["attempts"]]
    if "exception" in facts:
        facts["exception"] = ExecutorException(*facts["exception"])
    error.__dict__.update(facts)
    return error


_OTHER_PORTS = ("is it the gateway's port", "is it a port for TLS", "is this another protocol's port")


def speaks_otherwise(error: Error) -> bool:
    """Whether another protocol is spoken at the address. Jina's own clients then see a failed connection."""
    return isinstance(error, DecodeError) and (error.hint or "").startswith(_OTHER_PORTS)
