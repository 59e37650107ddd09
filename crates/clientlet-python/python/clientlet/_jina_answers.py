"""Answers as jina's own class, whose parts are read when they are asked for."""

# jina and what it needs are not installed where types are checked, so its objects are `Any`.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-return,valid-type"

from __future__ import annotations

import json
from typing import Any

from jina._docarray import Document, DocumentArray, docarray_v2
from jina.types.request.data import DataRequest

from clientlet._core import Response
from clientlet._errors import DecodeError
from clientlet._models import Convert, converter

_LATE = frozenset(("buffer", "_pb_body", "direct_docs"))
_Content = DataRequest._DataContent


class Answer(DataRequest):
    """A `DataRequest` whose envelope is opened, and whose documents are decoded, at their first use."""

    def __init__(self, response: Response, document_array_cls: Any) -> None:
        self._response = response
        self._document_array_cls = document_array_cls
        self._data: Any = None

    def __getattr__(self, name: str) -> Any:
        if name in _LATE:
            self._open()
            return self.__dict__[name]
        if name == "header":
            # All the other ways to the header read the documents too.
            return self.proto_wo_data.header
        return super().__getattr__(name)

    def _open(self) -> None:
        """Makes this what jina's own client makes of the answer, but for the documents."""
        kept = self._document_array_cls, self._data
        is_proto, encoded = self._response.encoded
        if is_proto:
            super().__init__(encoded)
        else:
            envelope = json.loads(encoded)
            envelope.pop("data", None)
            for route in envelope.get("routes") or ():
                # 3.33.1 leaves out the offset for deployments that were skipped, and means UTC.
                for name in ("startTime", "endTime"):
                    time = route.get(name)
                    if time and time[-1].isdigit() and "+" not in time:
                        route[name] = time + "Z"
            super().__init__(envelope)
        self._document_array_cls, self._data = kept
        self.direct_docs = None
        self._is_without_data = not is_proto

    @property
    def docs(self) -> Any:
        """The documents."""
        direct = self.__dict__.get("direct_docs")
        return self.data.docs if direct is None else direct

    @property
    def data(self) -> Any:
        """What has the documents."""
        if self._data is None:
            self._data = _Documents(self)
        return self._data

    @property
    def proto(self) -> Any:
        """The message, with the documents also after its header was read: jina's own answers have them by then."""
        return self.proto_with_data

    @property
    def proto_with_data(self) -> Any:
        """The message, with the documents."""
        self._fill()
        return super().proto_with_data

    def _fill(self) -> None:
        """Puts the documents of a JSON answer into the message."""
        body = self._pb_body
        if self._is_without_data:
            self._is_without_data = False
            body.data.docs.CopyFrom(self.docs.to_protobuf())

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes such as `DocList[MyDoc]` have no place where pickle finds them.
        of = self._document_array_cls
        return _unpickled, (self.proto_with_data.SerializePartialToString(), getattr(of, "doc_type", None))


def _unpickled(message: bytes, of: Any) -> Any:
    request = DataRequest(message)
    if of is not None and of is not _any_document():
        request.document_array_cls = DocumentArray[of]
    return request


class _Documents(_Content):
    """The documents of an answer. Once documents are set, this is jina's own class."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._loaded_doc_array: Any = None
        self.document_array_cls = answer.document_array_cls
        self._is_set = False

    def __getattr__(self, name: str) -> Any:
        if name != "_content":
            raise AttributeError(name)
        self._content = self._answer.proto_with_data.data
        return self._content

    @property
    def docs(self) -> Any:
        """The documents, of the class that `document_array_cls` names."""
        if self._is_set:
            return _Content.docs.fget(self)
        if not self._loaded_doc_array:
            self._loaded_doc_array = self._read()
        return self._loaded_doc_array

    @docs.setter
    def docs(self, value: Any) -> None:
        self.set_docs_convert_arrays(value)

    def _read(self) -> Any:
        response, of = self._answer._response, self.document_array_cls
        convert = _converter(of)
        try:
            if convert is not None:
                return convert(response.docs)
            if response.encoded[0]:
                # What no class is known for is jina's to decode.
                return _Content.docs.fget(self)
            if docarray_v2:
                return of([of.doc_type(**_as_json(document)) for document in response.docs])
            make = converter(DocumentArray)
            return response.docs if make is None else make(response.docs)
        except DecodeError as error:
            raise error.__cause__ or error from error

    def set_docs_convert_arrays(self, value: Any, ndarray_type: str | None = None) -> None:
        """Sets the documents."""
        if value is not None:
            _ = self._content
            self._is_set = True
        super().set_docs_convert_arrays(value, ndarray_type=ndarray_type)

    @property
    def docs_bytes(self) -> Any:
        """The documents as bytes."""
        return _Content.docs_bytes.fget(self)

    @docs_bytes.setter
    def docs_bytes(self, value: bytes) -> None:
        _ = self._content
        self._is_set = True
        _Content.docs_bytes.fset(self, value)


def _as_json(document: dict[str, Any]) -> dict[str, Any]:
    """A document as JSON has it: arrays are lists."""
    return {
        name: value.tolist() if hasattr(value, "__array__") else value for name, value in document.items()
    }


def _any_document() -> Any:
    return getattr(DocumentArray, "doc_type", None)


_converters: dict[Any, Convert | None] = {}
_MOST_CONVERTERS = 256


def _converter(of: Any) -> Convert | None:
    """What makes a collection of the class `of`; `None` where jina's own code has to."""
    if of in _converters:
        return _converters[of]
    made: Convert | None = None
    if not docarray_v2:
        made = converter(of) if of is DocumentArray else None
    elif of.doc_type is not None and of.doc_type is not _any_document():
        made = converter(of)
        if made is not None and of is not DocumentArray[of.doc_type]:
            made = _of_class(of, made)
    if len(_converters) < _MOST_CONVERTERS:
        _converters[of] = made
    return made


def _of_class(of: Any, convert: Convert) -> Convert:
    """Makes the collection of the caller's own class."""
    return lambda documents: of.construct(list(convert(documents)))


def failed(description: str, exception: Any, request_id: str | None, endpoint: str) -> Any:
    """Makes the answer to a request that failed without one."""
    answer = DataRequest()
    header = answer.proto.header
    header.request_id = request_id or header.request_id
    header.exec_endpoint = endpoint
    header.status.code = header.status.ERROR
    header.status.description = description
    if exception is not None:
        told = header.status.exception
        told.name, told.executor = exception.name, exception.executor
        told.args.extend(exception.args)
        told.stacks.extend(exception.stacks)
    return answer
