"""What passes through clientlets: requests as bytes, and answers over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from types import SimpleNamespace, TracebackType
from typing import Any
from urllib.parse import urlsplit

from clientlet import _core
from clientlet._errors import (
    DecodeError,
    EncodeError,
    Error,
    ExecutorError,
    GatewayError,
    NotFoundError,
    RateLimitedError,
    speaks_otherwise,
)


def json_of(request: Any) -> tuple[bytes, int, bool]:
    """A request's body in JSON, the number of its documents where it is known, and whether they are
    documents v2. Jina's `DataRequest` and everything else with `to_dict()` is sent as it says of itself.

    :raises TypeError: for an object that is no request.
    """
    if isinstance(request, (bytes, bytearray, memoryview)):
        return bytes(request), 0, False
    if isinstance(request, str):
        return request.encode(), 0, False
    jina = sys.modules.get("jina.types.request.data")
    if jina is not None and type(request) is jina.DataRequest:
        ready = _json_of_jina(request)
        if ready is not None:
            return ready
    if isinstance(request, Mapping):
        body = dict(request)
    elif hasattr(request, "to_dict"):
        body = request.to_dict()
    else:
        raise TypeError(
            f"a request is a DataRequest, a dict, bytes that are ready, or has to_dict(), not "
            f"{type(request).__name__}"
        )
    # The gateway ignores the header's endpoint.
    header = body.get("header")
    if isinstance(header, Mapping):
        for name in ("exec_endpoint", "target_executor"):
            if name in header:
                body[name] = header[name]
    documents = body.get("data")
    count = len(documents) if isinstance(documents, Sized) else 0
    return _dumped(body), count, _has_documents_v2()


def _json_of_jina(request: Any) -> tuple[bytes, int, bool] | None:
    """The body of one of Jina's requests, made of its protobuf, without DocArray; `None` if only DocArray can."""
    if vars(request).get("direct_docs") is not None:
        return None
    is_v2 = _has_documents_v2()
    try:
        body, count = _core.json_of_proto(request.SerializeToString(), is_v2)
    except Error:
        return None
    return body, count, is_v2


def proto_of(request: Any, is_v2: bool) -> bytes:
    """A request in protobuf.

    :raises TypeError: for an object that is no request.
    """
    if isinstance(request, (bytes, bytearray, memoryview)):
        return bytes(request)
    if hasattr(request, "SerializeToString"):
        return request.SerializeToString()  # type: ignore[no-any-return]
    if isinstance(request, Mapping):
        header = request.get("header") or {}
        data = request.get("data") or ()
        documents = data.get("docs", ()) if isinstance(data, Mapping) else data

        def part(name: str) -> Any:
            return request.get(name) or header.get(name)

        return _core.request_of(
            is_v2,
            part("exec_endpoint") or "/",
            part("request_id"),
            part("target_executor"),
            request.get("parameters"),
            list(documents),
        )
    raise TypeError(
        f"a request is a DataRequest, a dict, bytes that are ready, or has SerializeToString(), not "
        f"{type(request).__name__}"
    )


def _has_documents_v2() -> bool:
    """Whether the DocArray beside the imported Jina has documents v2."""
    jina = sys.modules.get("jina._docarray")
    return bool(getattr(jina, "docarray_v2", False))


def _dumped(body: dict[str, Any]) -> bytes:
    try:
        if _has_documents_v2():
            from docarray.base_doc.io.json import orjson_dumps  # type: ignore[import-not-found,unused-ignore]

            return orjson_dumps(body)  # type: ignore[no-any-return,unused-ignore]
        return json.dumps(body).encode()
    except (TypeError, ValueError) as error:
        raise EncodeError(f"the request cannot be written as JSON: {error}") from error


_decode = json.JSONDecoder().raw_decode


def of_text(text: str) -> Any:
    """What `json.loads` makes of a text, which takes twice as long for a short one."""
    try:
        value, end = _decode(text)
    except ValueError:
        end = -1
    # White space around the value, or no JSON at all.
    return value if end == len(text) else json.loads(text)


class Headers(Mapping[str, str]):
    """Headers, whose names may be asked for in any case."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        for found in self.getall(name):
            return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getall(name))

    def __repr__(self) -> str:
        return f"<Headers {self._pairs!r}>"

    def getall(self, name: str) -> list[str]:
        """All values of a header."""
        name = name.lower()
        return [value for known, value in self._pairs if known == name]


class Answer:
    """An answer over HTTP, whatever its status. It is read whole when it is returned, and has the face of
    aiohttp's `ClientResponse`."""

    __slots__ = ("_core", "status", "url")

    def __init__(self, core: _core.HttpAnswer, url: str) -> None:
        self._core = core
        self.status = core.status
        self.url = url

    @property
    def headers(self) -> Headers:
        """The headers."""
        return Headers(self._core.headers)

    @property
    def reason(self) -> str:
        """The status in words."""
        return self._core.reason

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def content_type(self) -> str:
        """The type of the body, without its parameters."""
        return (self._core.content_type or "application/octet-stream").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset that the type of the body names."""
        parameters = (self._core.content_type or "").split(";")[1:]
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip('"')
        return None

    async def read(self) -> bytes:
        """The body."""
        return self._core.body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """The body as text."""
        return self._core.body.decode(encoding or self.charset or "utf-8", errors)

    async def json(
        self,
        *,
        encoding: str | None = None,
        loads: Callable[[Any], Any] = json.loads,
        content_type: str | None = "application/json",
    ) -> Any:
        """The body, read as JSON.

        :raises DecodeError: if the answer is of another type; with `content_type=None` it is read all the
            same. Where aiohttp is imported, this is its `ContentTypeError` as well.
        """
        if encoding is None and (text := self._core.json_text) is not None:
            return self._value_of(text) if loads is json.loads else loads(text)
        body = self._core.body
        if content_type is not None and self.content_type not in (content_type, "application/json"):
            raise self._unexpected()
        if not body.strip():
            return None
        text = body.decode(encoding or self.charset or "utf-8")
        return self._value_of(text) if loads is json.loads else loads(text)

    def _value_of(self, text: str) -> Any:
        """The value of the body, which is JSON.

        :raises DecodeError: if it is malformed; also a `json.JSONDecodeError`.
        """
        try:
            return of_text(text)
        except json.JSONDecodeError as malformed:
            what = f"the answer {self.status} of {self.url} is malformed JSON; read it by text(): {malformed}"
            error = self._answered(DecodeError(what))
            raise also(error, json.JSONDecodeError, **vars(malformed)) from None

    def _answered(self, error: Error) -> Error:
        error.message = str(error)
        error.delivery = "answered"
        # An executor has worked on the request unless the gateway refused it.
        error.may_have_run = not 400 <= self.status < 500
        error.is_retryable = self.status in _TEMPORARY
        error.http_status = self.status
        error.gateway = gateway_of(self.url)
        error.protocol = "http"
        seconds = self.headers.get("Retry-After", "")
        error.retry_after = float(seconds) if seconds.isascii() and seconds.isdigit() else None
        return error

    def _refused(self, content: Any, as_the_original: Exception) -> Error:
        """The exception that the original raises for the status of this answer, as one of this package."""
        if self.status == 404:
            of: type[Error] = NotFoundError
        elif self.status == 429:
            of = RateLimitedError
        elif isinstance(as_the_original, ConnectionError):
            of = GatewayError
        elif self.status == 500 and isinstance(content, dict) and "detail" in content:
            of = ExecutorError
        else:
            of = RefusedError
        error = self._answered(of(*as_the_original.args))
        return also(error, *(() if isinstance(error, type(as_the_original)) else (type(as_the_original),)))

    def _unexpected(self) -> Error:
        error = self._answered(
            DecodeError(
                f"the answer {self.status} of {self.url} is {self.content_type}, not JSON; read it by text()"
            )
        )
        return of_aiohttp(error, "ContentTypeError", status=self.status, headers=self.headers)

    def raise_for_status(self) -> None:
        """Raises if the status is an error.

        :raises GatewayError: where aiohttp is imported, this is its `ClientResponseError` as well.
        """
        if not self.ok:
            error = self._answered(GatewayError(f"{self.url} answered {self.status} {self.reason}"))
            raise of_aiohttp(error, "ClientResponseError", status=self.status, headers=self.headers)

    def release(self) -> None:
        """Nothing is left to be released: the answer was read."""

    def close(self) -> None:
        """Nothing is left to be closed: the answer was read."""

    async def __aenter__(self) -> Answer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __repr__(self) -> str:
        return f"<Answer({self.url}) [{self.status} {self.reason}]>"


_TEMPORARY = (429, 502, 503, 504)
"""The statuses against which another attempt may help."""


class RefusedError(Error, ValueError):
    """The gateway, or a proxy before it, refused the request. It is no `ConnectionError`, because the original's
    is none."""

    kind = "gateway"


_OF_KIND = {
    "connect": ("ClientConnectorError",),
    "tls": ("ClientSSLError",),
    "transport": ("ServerDisconnectedError", "ClientOSError"),
    "closed": ("ClientConnectionError",),
    "gateway": ("ClientConnectionError",),
    "timeout": ("ServerTimeoutError",),
    "decode": ("ClientPayloadError",),
    "too_large": ("ClientPayloadError",),
}
"""The exceptions that the original raises for a kind of failure. A lost connection is one or the other there."""

_OF_A_RESPONSE = ("ContentTypeError", "ClientResponseError", "WSServerHandshakeError")

_classes: dict[tuple[type[Error], tuple[type, ...]], type[Error]] = {}


def also(error: Error, *others: type, **facts: Any) -> Error:
    """Makes an error also one of other classes, which callers of the original catch."""
    own = type(error)
    if others:
        made = _classes.get((own, others))
        if made is None:
            members = {"__str__": BaseException.__str__, "__repr__": BaseException.__repr__, "__module__": own.__module__,
                       "__reduce__": _reduce, "_own": own}  # fmt: skip
            made = _classes[own, others] = type(own.__name__, (own, *others), members)
        if issubclass(made, OSError) and not issubclass(own, OSError):
            # An object of another layout cannot be given this class.
            facts = {**vars(error), **facts}
            args, error = error.args, OSError.__new__(made)
            error.args = args
        else:
            error.__class__ = made
    error.__dict__.update(facts)
    return error


def of_aiohttp(error: Error, name: str | None = None, *others: type, **facts: Any) -> Error:
    """Makes an error also one of aiohttp's, if that is imported: callers of the original catch those."""
    aiohttp = sys.modules.get("aiohttp")
    if name is None and speaks_otherwise(error):
        name, others, facts = "ClientResponseError", (ConnectionError, *others), {"status": 0, "headers": None}
    names = (name,) if name else _OF_KIND.get(error.kind, ())
    if aiohttp is None or not names:
        return also(error, *others, **facts)
    if name in _OF_A_RESPONSE:
        facts = {"request_info": None, "history": (), "message": error.message or error.args[0], **facts}
    elif error.kind in ("connect", "tls"):
        facts = {**_connector(error), **facts}
    return also(error, *(getattr(aiohttp, each) for each in names), *others, **facts)


def of_opening(error: Error) -> Error:
    """Makes the error of a WebSocket that was not opened the one of the original."""
    if error.http_status is not None:
        return of_aiohttp(error, "WSServerHandshakeError", ConnectionError, status=error.http_status, headers=None)
    return of_aiohttp(error)


def _connector(error: Error) -> dict[str, Any]:
    """What aiohttp's exception of a failed connection has its attributes `host`, `port`, `ssl` and `os_error`
    from."""
    address = urlsplit(error.gateway or "")
    is_ssl = address.scheme in ("https", "wss")
    port = address.port or (443 if is_ssl else 80)
    key = SimpleNamespace(host=address.hostname, port=port, ssl=True, is_ssl=is_ssl)
    return {"_conn_key": key, "_os_error": OSError(None, error.message)}


def gateway_of(url: str) -> str:
    """The gateway of an address, without user information."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _reduce(self: Any) -> tuple[Any, ...]:
    # A class that was made here is not found by its name.
    again, (_, args, facts) = Error.__reduce__(self)
    return again, (self._own, args, {name: fact for name, fact in facts.items() if name != "headers"})
