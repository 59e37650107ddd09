"""Messages in the shape of Jina's `DataRequest` and `StatusMessage`: Jina's own classes where Jina is
installed, those of this module otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from clientlet import _core
from clientlet._exchange import proto_of
from clientlet._records import Status


def of_jina() -> tuple[Any, Any]:
    """The classes of Jina, or those of this module where Jina is not installed."""
    try:
        from jina.types.request.data import DataRequest as Request  # type: ignore[import-not-found,unused-ignore]
        from jina.types.request.status import StatusMessage as Message  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return DataRequest, StatusMessage
    return Request, Message


class DataRequest:
    """A request or its answer, where Jina is not installed: made of a dict to be sent, or of the bytes that
    came. `docarray` says which documents the gateway speaks: `v1` or `v2`."""

    def __init__(self, request: bytes | Mapping[str, Any] | None = None, docarray: str = "v1") -> None:
        if docarray not in ("v1", "v2"):
            raise ValueError(f'docarray is "v1" or "v2", not {docarray!r}')
        self._is_v2 = docarray == "v2"
        if isinstance(request, (bytes, bytearray, memoryview)):
            self._bytes: bytes | None = bytes(request)
            self._fields: dict[str, Any] = {}
        else:
            self._bytes = None
            self._fields = dict(request or {})
        self._read: _core.Response | None = None

    def _answer(self) -> _core.Response:
        if self._read is None:
            self._read = _core.answer_of(self.SerializeToString(), self._is_v2)
        return self._read

    @property
    def header(self) -> SimpleNamespace:
        """The request's id and status."""
        answer = self._answer()
        return SimpleNamespace(request_id=answer.request_id, status=answer.status)

    @property
    def status(self) -> Status:
        """The outcome of the request."""
        return self._answer().status

    @property
    def docs(self) -> Any:
        """The documents, as dicts."""
        return self._answer().docs

    @property
    def data(self) -> DataRequest:
        """What has the documents: `data.docs`."""
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters, with the executors' results under `__results__`."""
        return self._answer().parameters

    @property
    def routes(self) -> list[Any]:
        """The stations of the request."""
        return self._answer().routes

    def to_dict(self) -> dict[str, Any]:
        """The request as a dict."""
        if self._bytes is None:
            return dict(self._fields)
        answer = self._answer()
        header = {"request_id": answer.request_id}
        return {"header": header, "parameters": answer.parameters, "data": answer.docs}

    def SerializeToString(self) -> bytes:  # noqa: N802
        """The request in protobuf."""
        if self._bytes is None:
            self._bytes = proto_of(self._fields, self._is_v2)
        return self._bytes

    def __repr__(self) -> str:
        return f"<DataRequest {self._answer().request_id!r}>"


class StatusMessage:
    """The answer to a dry run, where Jina is not installed."""

    def __init__(self, status_object: bytes = b"") -> None:
        self.proto = _core.status_of(bytes(status_object))

    @property
    def code(self) -> int:
        """0 for success."""
        return self.proto.code

    @property
    def description(self) -> str:
        """What went wrong, in words."""
        return self.proto.description

    @property
    def exception(self) -> Any:
        """What was raised."""
        return self.proto.exception

    def __repr__(self) -> str:
        return f"<StatusMessage {self.proto!r}>"
