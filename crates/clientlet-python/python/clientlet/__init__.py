"""The fast client for Jina gateways: documents in, answers out, every request accounted for.

    >>> gateway = clientlet.testing.Gateway()  # a gateway for tests; yours is "grpc://localhost:54321"
    >>> client = clientlet.Client(gateway.grpc_url)
    >>> client.post("/upper", {"text": "hello"})[0]["text"]
    'HELLO'

`Client` waits; `AsyncClient` has the same methods, to be awaited. Nothing is started on import: the
client's one thread begins with the first call.

The examples in this documentation run with `gateway`, a `clientlet.testing.Gateway`, and `client`, a `Client` of it.
"""

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
    "testing",
]


def __getattr__(name: str) -> object:
    # The gateway for tests is loaded when it is asked for.
    if name == "testing":
        import importlib

        return importlib.import_module("clientlet.testing")
    raise AttributeError(f"module 'clientlet' has no attribute {name!r}")
