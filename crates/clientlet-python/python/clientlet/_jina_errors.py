"""Failures as the exceptions that jina's own client raises. The package's exception is their `__cause__`."""

# jina and what it needs are not installed where types are checked, so its objects are `Any`.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return,valid-type"

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import grpc
import jina
from jina.excepts import BadClient, BadClientInput, BadServerFlow

from clientlet import _errors

_IS_SEED = tuple(int(part) for part in jina.__version__.split(".")[:2]) < (3, 15)

OF_THE_CALL = (
    _errors.ConnectError,
    _errors.TlsError,
    _errors.ClosedError,
    _errors.ConfigError,
    _errors.InputError,
    _errors.CallbackError,
    _errors.InternalError,
)
"""What ends a call even with `continue_on_error`: other requests would fail in the same way."""


class ConnectFailed(aiohttp.ClientConnectorError, ConnectionError):
    """No connection could be made: what jina 3.14.1 raises, and a `ConnectionError`."""

    def __init__(self, text: str) -> None:
        self._text = text
        OSError.__init__(self, text)

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._text,)


class Disconnected(aiohttp.ServerDisconnectedError, ConnectionError):
    """The connection broke: what jina 3.14.1 raises, and a `ConnectionError`."""


def exception(client: Any, protocol: str, error: _errors.Error) -> BaseException:
    """Makes the exception for a request that failed without an answer."""
    if isinstance(error, _errors.InputError):
        return error.__cause__ or BadClientInput(str(error))
    if isinstance(error, (_errors.EncodeError, _errors.ConfigError, _errors.InternalError)):
        return error
    if isinstance(error, (_errors.DecodeError, _errors.TooLargeError, _errors.Cancelled)):
        if not _errors.speaks_otherwise(error):
            return error
    return _grpc(error) if protocol == "grpc" else _http(client, protocol, error)


def _http(client: Any, protocol: str, error: _errors.Error) -> BaseException:
    address = f"{client.args.host}:{client.args.port}"
    if isinstance(error, (_errors.ConnectError, _errors.TlsError)) or _errors.speaks_otherwise(error):
        text = f"Cannot connect to host {address} ssl:default [{error.message}]"
        return ConnectFailed(text) if _IS_SEED else ConnectionError(text)
    if isinstance(error, (_errors.TransportError, _errors.ClosedError)):
        return Disconnected(error.message) if _IS_SEED else ConnectionError(error.message)
    if protocol == "http":
        if isinstance(error, _errors.NotFoundError):
            scheme = "https" if client.args.tls else "http"
            return BadClient(f"no such endpoint {scheme}://{address}/post")
        if error.http_status in (503, 504) and error.response is not None:
            return ConnectionError(error.message)
        if error.exception is not None:
            return ValueError({"detail": _raised(error)})
        if error.http_status is not None:
            return ValueError(error.message)
    if isinstance(error, _errors.TimeoutError):
        return asyncio.TimeoutError(error.message)
    return ConnectionError(error.message.removeprefix("the gateway closed with 1011: "))


def _raised(error: _errors.Error) -> str:
    """What an executor raised, as the gateway writes it."""
    return error.message.split(" raised ", 1)[-1]


def description(error: _errors.Error) -> str:
    """The description of a status for a request that failed without an answer."""
    return error.message if error.exception is None else _raised(error)


def _grpc(error: _errors.Error) -> BaseException:
    code = _code(error)
    details = error.message
    is_unconnected = isinstance(error, _errors.ConnectError) or _errors.speaks_otherwise(error)
    if code == grpc.StatusCode.UNAVAILABLE and is_unconnected:
        details = f"failed to connect to all addresses; last error: UNKNOWN: {details}"
    text = f"gRPC error: {code} {details}"
    if code in _UNREACHABLE:
        return ConnectionError(details if _IS_SEED else f"{text}\nNone")
    if code == grpc.StatusCode.INTERNAL:
        nothing = grpc.aio.Metadata()
        return grpc.aio.AioRpcError(code, nothing, nothing, details=details)
    return BadServerFlow(text if _IS_SEED else f"{text}\nNone")


_UNREACHABLE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


def _code(error: _errors.Error) -> grpc.StatusCode:
    if error.grpc_code is not None:
        name = error.grpc_code.upper().replace(" ", "_")
        code = getattr(grpc.StatusCode, name, None)
        if code is not None:
            return code
    if isinstance(error, _errors.TimeoutError):
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.UNAVAILABLE
