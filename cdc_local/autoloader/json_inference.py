"""The columns of JSON without Spark: the types that Spark's inference finds, of all documents."""

from collections.abc import Iterable, Sequence
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
)

from cdc_local.autoloader.json_rows import decode_text
from cdc_local.autoloader.json_tokens import JsonSyntaxError, JsonToken, JsonTokens
from cdc_local.autoloader.json_trees import parse_tree
from cdc_local.autoloader.json_values import (
    has_half_character,
    read_elements,
    read_keys,
    read_raw,
    write_object,
)
from cdc_local.errors import NeedsSparkError

_SPACE = " \t\r\n"
_MAX_PRECISION = 38
_LONG_AS_DECIMAL = DecimalType(20, 0)
# A type, before all documents are known: a dict of a struct's fields, a list of an array's one element type
Found = DataType | dict[str, Any] | list[Any]
_TEXT, _LONG, _DOUBLE, _BOOLEAN, _NULL = StringType(), LongType(), DoubleType(), BooleanType(), NullType()


class JsonColumns:
    "Collects the columns of documents."

    def __init__(
        self,
        has_text_only: bool = False,  # Option primitivesAsString: numbers and booleans are strings
        drops_null: bool = False,  # Option dropFieldIfAllNull: fields without a value are no columns
    ) -> None:
        self._has_text_only, self._drops_null = has_text_only, drops_null
        self._found: Found = {}
        self._known: set[Any] = set()

    def add(
        self,
        texts: Sequence[bytes],  # Lines, or a whole file
    ) -> None:
        "Look at the documents of some texts."
        for data in texts:
            text = decode_text(data)
            if text.strip(_SPACE):
                self._add_text(text)

    def schema(self) -> StructType:
        "The columns found, sorted by name."
        found = _close_type(self._found, self._drops_null)
        return found if isinstance(found, StructType) else StructType()

    def _add_text(self, text: str) -> None:
        tree = parse_tree(text)
        if tree is not None:
            shape = _shape(tree)
            if shape not in self._known:
                self._known.add(shape)
                self._merge(self._infer(text))
            return
        documents: list[str | None] = [text]
        if text.lstrip(_SPACE).startswith("["):
            elements = read_elements(text)
            documents = [text] if elements is None else elements
        for single in documents:
            if single is not None:
                self._merge(self._infer(_keep_last_of_each_key(single)))

    def _infer(self, text: str) -> Found:
        tokens = JsonTokens(text)
        try:
            if tokens.next() is None:
                return _NULL
            return self._infer_value(tokens)
        except JsonSyntaxError:
            return _TEXT

    def _infer_value(self, tokens: JsonTokens) -> Found:
        token = tokens.next() if tokens.token is JsonToken.NAME else tokens.token
        if token is JsonToken.START_OBJECT:
            fields: dict[str, Found] = {}
            while tokens.next() is not JsonToken.END_OBJECT:
                name = tokens.name
                fields[name] = self._infer_value(tokens)
            return fields
        if token is JsonToken.START_ARRAY:
            element: Found = _NULL
            while tokens.next() is not JsonToken.END_ARRAY:
                element = merge_types(element, self._infer_value(tokens))
            return [element]
        if token is JsonToken.STRING:
            return _TEXT if tokens.text() else _NULL
        if token in (None, JsonToken.NULL):
            return _NULL
        if self._has_text_only:
            return _TEXT
        if token in (JsonToken.TRUE, JsonToken.FALSE):
            return _BOOLEAN
        return _integer_type(tokens.text()) if token is JsonToken.INTEGER else _DOUBLE

    def _merge(self, found: Found) -> None:
        while isinstance(found, list):  # an array of records, in an array
            found = found[0]
        if isinstance(found, dict):  # anything else is no record
            self._found = merge_types(self._found, found)


def merge_types(
    left: Found,  # A type
    right: Found,  # Another one
) -> Found:  # The narrowest type that holds both
    "Merge the types of a field in two documents."
    if isinstance(left, dict) and isinstance(right, dict):
        merged = {
            name: merge_types(kind, right[name]) if name in right else kind for name, kind in left.items()
        }
        return merged | {name: kind for name, kind in right.items() if name not in left}
    if isinstance(left, list) and isinstance(right, list):
        return [merge_types(left[0], right[0])]
    if isinstance(right, NullType) or left == right:
        return left
    if isinstance(left, NullType):
        return right
    if _is_number(left) and _is_number(right):
        if isinstance(left, DoubleType) or isinstance(right, DoubleType):
            return _DOUBLE
        return _merge_decimals(left, right)
    return _TEXT


def _is_number(kind: Found) -> bool:
    return isinstance(kind, LongType | DecimalType | DoubleType)


def _merge_decimals(left: Any, right: Any) -> DataType:
    left, right = (kind if isinstance(kind, DecimalType) else _LONG_AS_DECIMAL for kind in (left, right))
    scale = max(left.scale, right.scale)
    whole = max(left.precision - left.scale, right.precision - right.scale)
    return DecimalType(whole + scale, scale) if whole + scale <= _MAX_PRECISION else _DOUBLE


def _integer_type(text: str) -> DataType:
    if -(2**63) <= int(text) < 2**63:
        return _LONG
    digits = len(text.lstrip("-"))
    return DecimalType(digits, 0) if digits <= _MAX_PRECISION else _DOUBLE


def _close_type(
    found: Found,
    drops_null: bool,  # Whether what never had a value is left out
) -> DataType | None:  # None for what is no column: a struct without fields
    if isinstance(found, dict):
        names = sorted(filter(None, found), key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        closed = [(name, _close_type(found[name], drops_null)) for name in names]
        write_object([(name, None) for name in names])  # refuses names that Spark alone reads
        fields = [StructField(name, kind) for name, kind in closed if kind is not None]
        return StructType(fields) if fields else None
    if isinstance(found, list):
        element = _close_type(found[0], drops_null)
        return None if element is None else ArrayType(element)
    if isinstance(found, NullType):
        return None if drops_null else StringType()
    return found


def _keep_last_of_each_key(document: str) -> str:
    "Of a key that occurs twice the last value; of one that occurs twice deep inside, values as text."
    names = read_keys(document)
    if names is None:
        return document
    if len(set(names)) == len(names) and _is_taken_by_variant(document):
        return document
    raw = read_raw(document)
    if raw is None or any(map(has_half_character, names)):
        raise NeedsSparkError(f"The columns of the JSON document {document[:60]} are inferred by Spark alone")
    return write_object(list(dict(raw).items()))


def _is_taken_by_variant(document: str) -> bool:
    "Whether no key occurs twice in an object inside a document, and no text has half a character."
    tokens = JsonTokens(document)
    tokens.next()
    open_objects: list[set[str]] = [set()]
    while open_objects:
        token = tokens.next()
        if token is JsonToken.NAME:
            if tokens.name in open_objects[-1] or has_half_character(tokens.name):
                return False
            open_objects[-1].add(tokens.name)
        elif token is JsonToken.STRING and has_half_character(tokens.text()):
            return False
        elif token in (JsonToken.START_OBJECT, JsonToken.START_ARRAY):
            open_objects.append(set())
        elif token in (JsonToken.END_OBJECT, JsonToken.END_ARRAY):
            open_objects.pop()
    return True


def _shape(value: Any) -> Any:
    "A document less its values: documents of one shape have the same columns."
    kind = type(value)
    if kind is dict:
        return tuple((name, _shape(inner)) for name, inner in value.items())
    if kind is list:
        return (list, *dict.fromkeys(map(_shape, value)))
    if kind is str:
        return bool(value)
    if kind is int and not -(2**63) <= value < 2**63:
        return len(str(abs(value)))
    return kind


def infer_json_texts(
    texts: Iterable[Sequence[bytes]],  # Of all files: some lines each time, or a whole file
    has_text_only: bool,  # Option primitivesAsString
    drops_null: bool,  # Option dropFieldIfAllNull
) -> StructType:
    "Infer the columns of JSON texts."
    columns = JsonColumns(has_text_only, drops_null)
    for some in texts:
        columns.add(some)
    return columns.schema()
