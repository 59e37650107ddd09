"""What passes through clientlets: requests as bytes, and answers over HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sized
from types import TracebackType
from typing import Any

from clientlet import _core
from clientlet._errors import DecodeError, EncodeError, Error, GatewayError


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
            return of_text(text) if loads is json.loads else loads(text)
        body = self._core.body
        if content_type is not None and self.content_type not in (content_type, "application/json"):
            raise self._unexpected()
        if not body.strip():
            return None
        return loads(body.decode(encoding or self.charset or "utf-8"))

    def _unexpected(self) -> Error:
        error = DecodeError(
            f"the answer {self.status} of {self.url} is {self.content_type}, not JSON; read it by text()"
        )
        error.http_status = self.status
        return of_aiohttp(error, "ContentTypeError", status=self.status, headers=self.headers)

    def raise_for_status(self) -> None:
        """Raises if the status is an error.

        :raises GatewayError: where aiohttp is imported, this is its `ClientResponseError` as well.
        """
        if not self.ok:
            error = GatewayError(f"{self.url} answered {self.status} {self.reason}")
            error.http_status = self.status
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


_OF_KIND = {
    "connect": "ClientConnectionError",
    "tls": "ClientConnectionError",
    "transport": "ClientConnectionError",
    "closed": "ClientConnectionError",
    "gateway": "ClientConnectionError",
    "timeout": "ServerTimeoutError",
    "decode": "ClientPayloadError",
    "too_large": "ClientPayloadError",
}

_classes: dict[tuple[type[Error], tuple[type, ...]], type[Error]] = {}


def of_aiohttp(error: Error, name: str | None = None, *others: type, **facts: Any) -> Error:
    """Makes an error also one of aiohttp's, if that is imported: callers of the original catch those."""
    aiohttp = sys.modules.get("aiohttp")
    name = name or _OF_KIND.get(error.kind)
    also = others if aiohttp is None or name is None else (getattr(aiohttp, name), *others)
    if not also:
        return error
    own = type(error)
    made = _classes.get((own, also))
    if made is None:
        members = {"__str__": BaseException.__str__, "__repr__": BaseException.__repr__, "__module__": own.__module__,
                   "__reduce__": _reduce, "_own": own}  # fmt: skip
        made = _classes[own, also] = type(own.__name__, (own, *also), members)
    error.__class__ = made
    if aiohttp is not None and name in ("ContentTypeError", "ClientResponseError"):
        facts = {"request_info": None, "history": (), "message": error.args[0], **facts}
    error.__dict__.update(facts)
    return error


def _reduce(self: Any) -> tuple[Any, ...]:
    # A class that was made here is not found by its name.
    again, (_, args, facts) = Error.__reduce__(self)
    return again, (self._own, args, {name: fact for name, fact in facts.items() if name != "headers"})
