"""Answers as objects of the caller's classes."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

from clientlet._core import Table
from clientlet._errors import DecodeError

if TYPE_CHECKING:
    from clientlet._core import Response

Convert = Callable[[list[dict[str, Any]]], Any]


def converter(return_type: Any) -> Convert | None:
    """What makes `return_type` of a list of dicts; `None` for the dicts themselves."""
    # `DocList[MyDoc]` is such an alias with pydantic 2.
    asked, return_type = return_type, typing.get_origin(return_type) or return_type
    if return_type is None or return_type is dict or return_type in ("columns", "arrow"):
        return None
    if not isinstance(return_type, type):
        raise TypeError(f"return_type: a class, \"columns\" or \"arrow\" is expected, not {return_type!r}")
    if return_type.__module__ == "builtins":
        (of,) = typing.get_args(asked) if len(typing.get_args(asked)) == 1 else (None,)
        advice = "" if of is None else f"; for a list of them: return_type={getattr(of, '__name__', of)}"
        raise TypeError(f"return_type: the class of a document is expected, not {asked!r}{advice}")
    bases = {f"{base.__module__}.{base.__qualname__}" for base in return_type.__mro__}
    if "docarray.base_doc.doc.BaseDocWithoutId" in bases:
        return _doc_list(return_type)
    if "docarray.array.doc_vec.doc_vec.DocVec" in bases:
        raise TypeError("return_type: take a DocList, whose method to_doc_vec makes a DocVec")
    if "docarray.array.any_array.AnyDocArray" in bases:
        return _doc_list(return_type.doc_type)  # type: ignore[attr-defined]
    if "docarray.base.BaseDCType" in bases or "docarray.array.base.BaseDocumentArray" in bases:
        return _document_array()
    if "docarray.array.document.DocumentArray" in bases:
        return _document_array()
    return _each(_constructor(return_type))


class Collected:
    """The documents of a call's answers, one after the other."""

    def __init__(self, return_type: Any) -> None:
        self._as_table = return_type == "arrow"
        self._as_columns = self._as_table or return_type == "columns"
        self._parts: list[Any] = []
        self._empty = converter(return_type)

    def add(self, response: Response[Any]) -> None:
        """Adds the documents of a response."""
        self._parts.append(response.columns if self._as_columns else response.docs)

    def end(self) -> Any:
        """All documents: a list, a collection of DocArray, a dict of columns, or a table."""
        if self._as_columns:
            columns = _joined(self._parts)
            return Table(columns) if self._as_table else columns
        if not self._parts:
            return [] if self._empty is None else self._empty([])
        all_documents = self._parts[0]
        for documents in self._parts[1:]:
            all_documents.extend(documents)
        return all_documents


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns of several answers as one."""
    # An answer without documents says nothing of its columns.
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return parts[0] if parts else {}
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _column([_part(part, name) for part in parts]) for name in names}


def _part(part: dict[str, Any], name: str) -> Any:
    missing = [None] * len(next(iter(part.values())))
    return part.get(name, missing)


def _column(values: list[Any]) -> Any:
    if all(hasattr(value, "dtype") for value in values):
        same = {(value.dtype.kind, value.shape[1:]) for value in values}
        numbers = all(value.ndim == 1 for value in values)
        if len(same) == 1 or numbers:
            import numpy

            return numpy.concatenate(values)
    return [element for value in values for element in value]


def _each(make: Callable[[dict[str, Any]], Any]) -> Convert:
    def convert(documents: list[dict[str, Any]]) -> list[Any]:
        made = []
        for index, document in enumerate(documents):
            try:
                made.append(make(document))
            except Exception as cause:
                raise _unfit(index, cause) from cause
        return made

    return convert


def _unfit(index: int, cause: Exception) -> DecodeError:
    text = " ".join(f"return_type: document {index} of the answer does not fit: {cause}".split())
    error = DecodeError(text)
    error.delivery, error.may_have_run = "answered", True
    return error


def _constructor(of: Any) -> Callable[[dict[str, Any]], Any]:
    """What makes an object of a dict of its fields."""
    names: list[str] | None = None
    if hasattr(of, "__struct_fields__"):
        # msgspec's own function knows nested classes and renamed fields; it is there with the class.
        import msgspec

        return lambda document: msgspec.convert(_without_id(document, of.__struct_encode_fields__), of)
    if hasattr(of, "__pydantic_validator__") or (hasattr(of, "__fields__") and hasattr(of, "__config__")):
        return _model(of)
    if hasattr(of, "__attrs_attrs__"):
        aliases = {attribute.name: attribute.alias or attribute.name for attribute in of.__attrs_attrs__}
        names = list(aliases)
        late = {attribute.name for attribute in of.__attrs_attrs__ if not attribute.init}
    elif dataclasses.is_dataclass(of):
        names = [field.name for field in dataclasses.fields(of)]
        aliases = {}
        late = {field.name for field in dataclasses.fields(of) if not field.init}
    if names is None:
        return lambda document: of(**document)
    # A handler may know a private attribute by the name of its argument.
    known = {*names, *aliases.values()}
    aliases = {name: alias for name, alias in aliases.items() if name != alias}
    if not aliases and not late:
        return lambda document: of(**_fitting(document, known, of))

    def make(document: dict[str, Any]) -> Any:
        document = _fitting(document, known, of)
        # Fields that the constructor does not take are set afterwards.
        set_later = {name: document.pop(name) for name in late.intersection(document)}
        made = of(**_renamed(document, aliases))
        for name, value in set_later.items():
            object.__setattr__(made, name, value)
        return made

    return make


def _model(of: Any) -> Callable[[dict[str, Any]], Any]:
    """What makes a model of pydantic. Fields are sent by their names, and its constructor may know them
    by an alias alone."""
    aliases: dict[str, str] = {}
    if hasattr(of, "__pydantic_validator__"):
        settings = of.model_config
        if not (settings.get("populate_by_name") or settings.get("validate_by_name")):
            found = {name: field.validation_alias for name, field in of.model_fields.items()}
            aliases = {name: alias for name, alias in found.items() if isinstance(alias, str)}
    elif not getattr(of.__config__, "allow_population_by_field_name", False):
        aliases = {name: field.alias for name, field in of.__fields__.items() if field.alias != name}
    if not aliases:
        return lambda document: of(**document)
    return lambda document: of(**_renamed(document, aliases))


def _renamed(document: dict[str, Any], aliases: dict[str, str]) -> dict[str, Any]:
    return {aliases.get(name, name): value for name, value in document.items()}


def _fitting(document: dict[str, Any], names: set[str], of: Any) -> dict[str, Any]:
    """The fields for a class that has these, and no room for others."""
    document = _without_id(document, names)
    unknown = document.keys() - names
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise TypeError(f"{of.__name__} lacks fields of the answer: {listed[:200]}")
    return document


def _without_id(document: dict[str, Any], names: Any) -> dict[str, Any]:
    """A document without its id, if the class has none: gateways give every document one."""
    if "id" in document and "id" not in names:
        return {name: value for name, value in document.items() if name != "id"}
    return document


def _doc_list(of: Any) -> Convert:
    """A `DocList` of documents v2. Where the class allows it, documents are made without validation:
    all that it would do is check what is checked here."""
    from docarray import DocList

    if of is None or of.__name__ == "AnyDoc":
        raise TypeError("return_type: a DocList needs the class of its documents: DocList[MyDoc]")
    collection = DocList[of]
    checks = _plain_fields(of)
    validated = _model(of)
    slow = _each(validated)

    def construct(document: dict[str, Any], assign: Callable[..., None], extra: Any) -> Any:
        values = {}
        for name, (accepted, change) in checks.items():  # type: ignore[union-attr]
            value = document[name]
            if type(value) not in accepted:
                return validated(document)
            values[name] = value if value is None or change is None else change(value)
        made = of.__new__(of)
        assign(made, "__dict__", values)
        for attribute, make in extra:
            assign(made, attribute, make())
        return made

    if checks is None:
        return lambda documents: collection(slow(documents))
    number = len(checks)
    names = set(checks)
    extra: list[tuple[str, Callable[[], Any]]]
    if hasattr(of, "__pydantic_validator__"):
        extra = [
            ("__pydantic_fields_set__", lambda: set(names)),
            ("__pydantic_extra__", lambda: None),
            ("__pydantic_private__", lambda: None),
        ]
    else:
        extra = [("__fields_set__", lambda: set(names))]

    def fast(document: dict[str, Any]) -> Any:
        # Fields that are missing or unknown are for the class to judge.
        if len(document) != number or document.keys() != names:
            return validated(document)
        return construct(document, object.__setattr__, extra)

    convert = _each(fast)
    return lambda documents: collection.construct(convert(documents))


def _plain_fields(of: Any) -> dict[str, tuple[tuple[type, ...], Callable[[Any], Any] | None]] | None:
    """The types that each field accepts as they are, and how a value becomes the field's own class;
    `None` if the class has to see every document: it has validators, or fields of other types."""
    import numpy
    from docarray.typing import ID, NdArray

    plain: dict[Any, tuple[type, Callable[[Any], Any] | None]] = {
        str: (str, None),
        int: (int, None),
        float: (float, None),
        bool: (bool, None),
        bytes: (bytes, None),
        ID: (str, ID),
        NdArray: (numpy.ndarray, lambda array: array.view(NdArray)),
    }
    if hasattr(of, "__pydantic_validator__"):
        from pydantic import BaseModel

        decorators = of.__pydantic_decorators__
        kinds = ("validators", "field_validators", "root_validators", "model_validators")
        if any(getattr(decorators, kind) for kind in kinds):
            return None
        if of.model_post_init is not BaseModel.model_post_init or of.__private_attributes__:
            return None
        fields = of.model_fields
        # Constraints (`Field(gt=0)`, `Annotated`) are kept beside the type.
        if any(field.metadata or field.alias for field in fields.values()):
            return None
        annotations = {name: field.annotation for name, field in fields.items()}
    else:
        if of.__pre_root_validators__ or of.__post_root_validators__ or of.__private_attributes__:
            return None
        fields = of.__fields__
        for field in fields.values():
            if field.class_validators or field.has_alias or field.sub_fields or field.shape != 1:
                return None
            # A constraint makes a type of its own.
            if field.outer_type_ is not field.type_ or field.type_ not in plain:
                return None
        annotations = {
            name: typing.Optional[field.type_] if field.allow_none else field.type_
            for name, field in fields.items()
        }
    if of.__init__ is not _base_init(of):
        return None
    checks: dict[str, tuple[tuple[type, ...], Callable[[Any], Any] | None]] = {}
    for name, annotation in annotations.items():
        accepted: tuple[type, ...] = ()
        kinds_of_union = {Union, getattr(types, "UnionType", Union)}
        if typing.get_origin(annotation) in kinds_of_union:
            options = [option for option in typing.get_args(annotation) if option is not type(None)]
            if len(options) != 1:
                return None
            annotation, accepted = options[0], (type(None),)
        if annotation not in plain:
            return None
        kind, change = plain[annotation]
        checks[name] = ((kind, *accepted), change)
    return checks


def _base_init(of: Any) -> Any:
    """The constructor of documents, where a class has none of its own."""
    from docarray import BaseDoc
    from docarray.base_doc.doc import BaseDocWithoutId

    return (BaseDoc if issubclass(of, BaseDoc) else BaseDocWithoutId).__init__


def _with_floats(value: Any) -> Any:
    """A value of tags as DocArray has it: all numbers of protobuf's structs are doubles."""
    if type(value) is int:
        return float(value)
    if type(value) is dict:
        return {name: _with_floats(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_with_floats(inner) for inner in value]
    return value


def _document_array() -> Convert:
    """A `DocumentArray` of documents v1."""
    from docarray import Document, DocumentArray
    from docarray.document.data import DocumentData  # type: ignore[import-not-found,unused-ignore]
    from docarray.score import NamedScore  # type: ignore[import-not-found,unused-ignore]

    empty = {field.name: field.default for field in dataclasses.fields(DocumentData)}
    # These are set through properties of a document, which do more than to keep the value.
    special = {"chunks", "matches", "scores", "evaluations", "content", "uri", "mime_type"}
    known = set(empty) - special

    def document(fields: dict[str, Any]) -> Any:
        if "tags" in fields:
            fields["tags"] = _with_floats(fields["tags"])
        if "id" in fields and known.issuperset(fields):
            made = object.__new__(Document)
            data = object.__new__(DocumentData)
            data.__dict__ = {**empty, **fields, "_reference_doc": made}
            made._data = data
            return made
        for name in ("chunks", "matches"):
            if name in fields:
                fields[name] = [document(nested) for nested in fields[name]]
        for name in ("scores", "evaluations"):
            if name in fields:
                scores = {key: NamedScore(score) for key, score in fields[name].items()}
                fields[name] = scores
        return Document(**fields)

    convert = _each(document)
    return lambda documents: DocumentArray(convert(documents))
