"""What the package does in Rust. Its classes are made by the package alone."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, final, overload

from typing_extensions import TypeVar

from clientlet._errors import Error
from clientlet._records import Arrival, Endpoints, GatewayStatus, Route, Statistics, Status

__all__ = [
    "__version__",
    "Response",
    "Memory",
    "Table",
    "Await",
    "Call",
    "DocumentCall",
    "Core",
    "HttpSession",
    "HttpAnswer",
    "WebSocket",
    "Feed",
    "Gateway",
    "Calls",
    "Handling",
    "Attempts",
    "Asked",
    "columns_of_stream",
    "answer_of",
    "status_of",
    "request_of",
    "json_of_proto",
    "command",
    "is_document",
    "encode",
    "pause",
]

__version__: str

def columns_of_stream(stream: Any) -> dict[str, Any]: ...
def answer_of(message: bytes, is_v2: bool) -> Response: ...
def status_of(message: bytes) -> Status: ...
def json_of_proto(message: bytes, is_v2: bool) -> tuple[bytes, int]: ...
def request_of(
    is_v2: bool,
    endpoint: str,
    request_id: str | None,
    target_executor: str | None,
    parameters: Any,
    documents: list[Any],
) -> bytes: ...
def command(args: Sequence[str]) -> int: ...
def is_document(object: Any) -> bool: ...
def encode(documents: Iterable[Any], docarray: str, is_json: bool) -> list[bytes]:
    """Encodes documents of `docarray`, `v1` or `v2`, as protobuf, or as JSON if `is_json`."""

def pause(pending: bool) -> Awaitable[None]:
    """An awaitable that is ready at once, or, if it is to be `pending`, when the runtime's thread has woken it."""

_D_co = TypeVar("_D_co", covariant=True, default=Any)

@final
class Response(Generic[_D_co]):
    """The answer to one request."""

    def __class_getitem__(cls, key: Any) -> Any: ...

    @property
    def docs(self) -> _D_co:
        """The documents of the answer, read anew at each call."""
    @property
    def columns(self) -> dict[str, Any]:
        """The documents as columns: a dict with an array of shape (documents, ...), or a list, for each field."""
    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the answer, with the executors' results under `__results__`."""
    @property
    def request_id(self) -> str:
        """The id of the request, as this client made it."""
    @property
    def gateway_request_id(self) -> str:
        """The id of the request in the gateway's logs."""
    @property
    def input(self) -> range:
        """The range of the call's documents that the request carried, counted from 0."""
    @property
    def status(self) -> Status:
        """The outcome of the request."""
    @property
    def routes(self) -> list[Route]:
        """The stations of the request."""
    @property
    def encoded(self) -> tuple[bool, bytes]:
        """The answer as it came: whether it is a `DataRequestProto`, and its bytes. JSON is without the
        documents, which are null."""
    @property
    def code(self) -> int:
        """The code of the status, which is 0 for success."""
    @property
    def attempts(self) -> int:
        """How often the request was sent."""
    @property
    def elapsed(self) -> float:
        """Seconds from the first attempt to the answer."""
    @property
    def docarray(self) -> str:
        """The documents that the gateway speaks: `v1` or `v2`."""

@final
class Await(Awaitable[Any]):
    def __await__(self) -> Any: ...
    def __iter__(self) -> Any: ...
    def __next__(self) -> Any: ...
    def send(self, _value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...

@final
class Call:
    def next(self) -> Response[Any] | Error | None: ...
    def next_async(self) -> Awaitable[Response[Any] | Error | None]: ...
    def stop(self) -> list[Response[Any] | Error]: ...
    def close(self) -> None: ...
    @property
    def documents(self) -> tuple[int, int]: ...

@final
class DocumentCall:
    def next(self) -> dict[str, Any] | None: ...
    def next_async(self) -> Awaitable[dict[str, Any] | None]: ...

@final
class Core:
    def __new__(cls, url: str, options: Mapping[str, Any]) -> Core: ...
    @property
    def gateway(self) -> str: ...
    def post(
        self,
        endpoint: str,
        kind: str,
        inputs: Any,
        options: Mapping[str, Any],
        convert: Callable[[list[dict[str, Any]]], Any] | None,
        aside: bool,
    ) -> Call: ...
    def stream_doc(self, endpoint: str, document: Any, options: Mapping[str, Any]) -> DocumentCall: ...
    @overload
    def ask(self, question: Literal["ready", "wait_ready"], argument: Any = None) -> bool: ...
    @overload
    def ask(self, question: Literal["status"], argument: Any = None) -> GatewayStatus: ...
    @overload
    def ask(self, question: Literal["endpoints"], argument: Any = None) -> Endpoints: ...
    @overload
    def ask(self, question: Literal["health"], argument: Any = None) -> str: ...
    @overload
    def ask_async(
        self, question: Literal["ready", "wait_ready"], argument: Any = None
    ) -> Awaitable[bool]: ...
    @overload
    def ask_async(
        self, question: Literal["status"], argument: Any = None
    ) -> Awaitable[GatewayStatus]: ...
    @overload
    def ask_async(
        self, question: Literal["endpoints"], argument: Any = None
    ) -> Awaitable[Endpoints]: ...
    @overload
    def ask_async(self, question: Literal["health"], argument: Any = None) -> Awaitable[str]: ...
    def statistics(self) -> Statistics: ...
    def close(self) -> None: ...

@final
class HttpSession:
    def __new__(cls, options: Mapping[str, Any]) -> HttpSession: ...
    def check(self, url: str) -> None: ...
    def send(
        self,
        url: str,
        body: bytes | None,
        documents: int,
        is_v2: bool,
        headers: list[tuple[str, str]],
        timeout: float | None,
        retry_statuses: bool,
    ) -> Awaitable[HttpAnswer]: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...

@final
class HttpAnswer:
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def json_text(self) -> str | None: ...
    @property
    def body(self) -> bytes: ...

@final
class WebSocket:
    def __new__(cls, url: str, options: Mapping[str, Any]) -> WebSocket: ...
    def start(self, retrying: bool) -> Awaitable[None]: ...
    def send(self, message: bytes) -> Awaitable[None] | None: ...
    def send_dry_run(self) -> Awaitable[None] | None: ...
    def send_eoi(self) -> Awaitable[None] | None: ...
    def receive(self) -> Awaitable[bytes | None] | bytes | None: ...
    def close(self) -> Awaitable[None]: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def close_message(self) -> str | None: ...

@final
class Feed:
    def put(self, document: Any) -> bool: ...
    def wanted(self, event_loop: Any) -> Awaitable[None] | None: ...
    def close(self, exception: BaseException | None = None) -> None: ...

@final
class Memory:
    def __len__(self) -> int: ...
    if sys.version_info >= (3, 12):
        def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Table:
    """Documents as a table, which pandas, polars, pyarrow and others take by the Arrow C stream interface."""

    def __new__(cls, columns: dict[str, Any]) -> Table: ...
    def __len__(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

@final
class Gateway:
    def __new__(cls, options: Mapping[str, Any]) -> Gateway: ...
    @property
    def calls(self) -> Calls: ...
    @property
    def urls(self) -> tuple[str, str, str]: ...
    @property
    def ca(self) -> str | None: ...
    def client_certificate(self, name: str) -> tuple[str, str]: ...
    @property
    def journal(self) -> list[Arrival]: ...
    def executor_down(self, down: bool) -> None: ...
    def executor_slow(self, slow: bool) -> None: ...
    def stop(self) -> list[str]: ...

@final
class Calls:
    def next(self) -> Handling | None: ...

@final
class Handling:
    @property
    def parts(self) -> tuple[int, list[dict[str, Any]], dict[str, Any], dict[str, str], str]: ...
    def reply(self, documents: Iterable[Any] | None = None) -> None: ...
    def raise_exception(self, name: str, arguments: list[str]) -> None: ...

@final
class Attempts:
    def next(self) -> Asked | None: ...

@final
class Asked:
    @property
    def parts(self) -> tuple[str, str, dict[str, str], bytes, bool]: ...
    def reply(self, pairs: list[tuple[str, str]]) -> None: ...
    def fail(self, exception: BaseException) -> None: ...
