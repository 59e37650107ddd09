"""The fast client for Jina gateways: documents in, answers out, every request accounted for.

    >>> gateway = clientlet.testing.Gateway()  # a gateway for tests; yours is "grpc://localhost:54321"
    >>> client = clientlet.Client(gateway.grpc_url)
    >>> client.post("/upper", {"text": "hello"})[0]["text"]
    'HELLO'

`Client` waits; `AsyncClient` has the same methods, to be awaited. Nothing is started on import: the
client's one thread begins with the first call.

The examples in this documentation run with `gateway`, a `clientlet.testing.Gateway`, and `client`, a `Client` of it.
"""

from typing import TYPE_CHECKING

# The core takes this from what is imported: a child that is forked during an import would wait for the thread
# that imports.
import clientlet._telling
from clientlet._core import Response, Table, __version__
from clientlet._errors import (
    Cancelled,
    CallbackError,
    ClosedError,
    ConfigError,
    ConnectError,
    DecodeError,
    EncodeError,
    Error,
    ExecutorError,
    GatewayError,
    InputError,
    InternalError,
    NotFoundError,
    RateLimitedError,
    TimeoutError,
    TlsError,
    TooLargeError,
    TransportError,
)
from clientlet._records import (
    Attempt,
    Durations,
    Endpoints,
    ExecutorException,
    GatewayStatus,
    NextAttempt,
    Retry,
    Route,
    Statistics,
    Status,
    Tls,
)
from clientlet.async_client import AsyncClient, AsyncStream
from clientlet.client import Client, Stream

if TYPE_CHECKING:
    from clientlet._jina_hook import install_jina, uninstall_jina

__all__ = [
    "AsyncClient",
    "AsyncStream",
    "Attempt",
    "CallbackError",
    "Cancelled",
    "Client",
    "ClosedError",
    "ConfigError",
    "ConnectError",
    "DecodeError",
    "Durations",
    "EncodeError",
    "Endpoints",
    "Error",
    "ExecutorError",
    "ExecutorException",
    "GatewayError",
    "GatewayStatus",
    "InputError",
    "InternalError",
    "NextAttempt",
    "NotFoundError",
    "RateLimitedError",
    "Response",
    "Retry",
    "Route",
    "Statistics",
    "Status",
    "Stream",
    "Table",
    "TimeoutError",
    "Tls",
    "TlsError",
    "TooLargeError",
    "TransportError",
    "__version__",
    "install_jina",
    "testing",
    "uninstall_jina",
]


def __getattr__(name: str) -> object:
    # The gateway for tests, and the hook for jina, are loaded when they are asked for.
    import importlib

    if name == "testing":
        return importlib.import_module("clientlet.testing")
    if name in ("install_jina", "uninstall_jina"):
        return getattr(importlib.import_module("clientlet._jina_hook"), name)
    raise AttributeError(f"module 'clientlet' has no attribute {name!r}")
