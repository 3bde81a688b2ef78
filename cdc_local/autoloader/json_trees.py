"""JSON documents in which nothing is odd, parsed by Python's own parser and read as `json_values.py` reads.

That goes from token to token, which is exact for every text and slow. Here a whole document is parsed at
once; what Python's parser takes otherwise than Spark's is not read here."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql.types import ArrayType, DataType, MapType, StringType, StructType

from cdc_local.autoloader.json_tokens import MAX_NUMBER, MAX_TEXT, JsonToken
from cdc_local.autoloader.json_values import (
    PartialValueError,
    TypedDocument,
    WrongValueError,
    copy_string,
    read_scalars_of,
    write_double,
    write_object,
    write_string,
    write_variant_number,
)

Reader = Callable[[Any], Any]
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_LONG_NUMBER = re.compile(f"[0-9]{{{MAX_NUMBER // 2}}}")


class _OddDocumentError(Exception):
    "A document that is read from token to token."


class FloatText(str):
    "A number with a fraction or an exponent, as it is written."


def parse_tree(
    text: str,  # A JSON document
) -> dict[str, Any] | None:  # None for what has to be read from token to token
    "Parse an object without keys that occur twice, numbers that are none, and half characters."
    if len(text) > MAX_NUMBER and (len(text) > MAX_TEXT or _LONG_NUMBER.search(text)):
        return None
    if "\\u" in text and _HALF_CHARACTER.search(text):
        return None
    try:
        tree = _DECODER.decode(text)
    except (ValueError, RecursionError, _OddDocumentError):
        return None
    return tree if type(tree) is dict else None


def copy_text(
    tree: Any,  # What `parse_tree` returns, or a part of it
) -> str:
    "A value as the text that a STRING column has of it, which is no string; numbers as Spark writes them."
    if type(tree) is str:
        return copy_string(tree)
    if tree is None or tree is True or tree is False:
        return json.dumps(tree)
    if type(tree) is int:
        return str(tree)
    if type(tree) is FloatText:
        return write_double(tree)
    if type(tree) is list:
        return "[" + ",".join(map(copy_text, tree)) + "]"
    return write_object([(name, copy_text(value)) for name, value in tree.items()], copy_string)


def variant_text(
    tree: Any,  # What `parse_tree` returns, or a part of it
) -> str:
    "A value as VARIANT writes it."
    if type(tree) is dict:
        members = sorted(tree.items(), key=lambda member: member[0].encode("utf-16-be"))
        return write_object([(name, variant_text(value)) for name, value in members])
    if type(tree) is list:
        return "[" + ",".join(map(variant_text, tree)) + "]"
    if type(tree) is str:
        return write_string(tree)
    return write_variant_number(str(tree)) if type(tree) in (int, FloatText) else copy_text(tree)


class TreeRowParser:
    "Reads trees as rows of a struct, as `RowParser` reads texts."

    def __init__(
        self,
        schema: StructType,
    ) -> None:
        self._fields = _field_readers(schema)

    def parse(
        self,
        tree: dict[str, Any],
    ) -> TypedDocument:
        "Read a document as Spark's `from_json` does in mode PERMISSIVE."
        try:
            return TypedDocument(_read_fields(tree, self._fields))
        except PartialValueError as part:
            return TypedDocument(part.value, True)


def _reader(data_type: DataType) -> Reader:
    "How a value of a type, which is not null, is read."
    if type(data_type) is StringType:
        return lambda tree: tree if type(tree) is str else copy_text(tree)
    if isinstance(data_type, StructType):
        fields, names = _field_readers(data_type), data_type.names
        return lambda tree: _read_struct(tree, fields, names)
    if isinstance(data_type, ArrayType):
        element = _reader(data_type.elementType)
        return lambda tree: _read_array(tree, element)
    if isinstance(data_type, MapType):
        value = _reader(data_type.valueType)
        return lambda tree: _read_map(tree, value)
    read = read_scalars_of(data_type)

    def read_scalar(tree: Any) -> Any:
        if type(tree) in (dict, list):
            raise WrongValueError
        token, text = _TOKENS[type(tree)](tree)
        value = None if tree == "" else read(token, text)
        if value is None:
            raise WrongValueError
        return value

    return read_scalar


_TOKENS: dict[type, Callable[[Any], tuple[JsonToken, str]]] = {
    str: lambda tree: (JsonToken.STRING, tree),
    int: lambda tree: (JsonToken.INTEGER, str(tree)),
    FloatText: lambda tree: (JsonToken.FLOAT, str(tree)),
    bool: lambda tree: (JsonToken.TRUE if tree else JsonToken.FALSE, ""),
}


def _field_readers(schema: StructType) -> Sequence[tuple[str, Reader]]:
    return [(field.name, _reader(field.dataType)) for field in schema.fields]


def _read_fields(tree: dict[str, Any], fields: Sequence[tuple[str, Reader]]) -> list[Any]:
    row: list[Any] = []
    is_bad = False
    for name, read in fields:
        value = tree.get(name)
        try:
            row.append(None if value is None else read(value))
        except PartialValueError as part:
            is_bad = True
            row.append(part.value)
        except WrongValueError:
            is_bad = True
            row.append(None)
    if is_bad:
        raise PartialValueError(row)
    return row


def _read_struct(tree: Any, fields: Sequence[tuple[str, Reader]], names: Sequence[str]) -> dict[str, Any]:
    if type(tree) is not dict:
        raise WrongValueError
    try:
        return dict(zip(names, _read_fields(tree, fields), strict=True))
    except PartialValueError as part:
        raise PartialValueError(dict(zip(names, part.value, strict=True))) from None


def _read_array(tree: Any, read: Reader) -> list[Any]:
    if type(tree) is not list:
        raise WrongValueError
    return _read_values(tree, read)


def _read_values(trees: Sequence[Any], read: Reader) -> list[Any]:  # The first wrong one ends it
    values = []
    is_bad = False
    for value in trees:
        try:
            values.append(None if value is None else read(value))
        except PartialValueError as part:
            is_bad = True
            values.append(part.value)
    if is_bad:
        raise PartialValueError(values)
    return values


def _read_map(tree: Any, read: Reader) -> list[tuple[str, Any]]:
    if type(tree) is not dict:
        raise WrongValueError
    try:
        return list(zip(tree, _read_values(list(tree.values()), read), strict=True))
    except PartialValueError as part:
        raise PartialValueError(list(zip(tree, part.value, strict=True))) from None


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _OddDocumentError
    return found


def _refuse(name: str) -> None:
    raise _OddDocumentError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_to_object, parse_float=FloatText, parse_constant=_refuse)
