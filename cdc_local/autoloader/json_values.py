"""JSON documents as Spark's `from_json` reads them: typed, or raw.

A value of the wrong type is NULL; what was read beside it, and above it, stays. A document that is no JSON is
NULL, but for what was read before the fault where Spark's parser goes on behind it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.autoloader.json_tokens import JsonSyntaxError, JsonToken, JsonTokens
from cdc_local.autoloader.value_texts import (
    INTEGER_BITS,
    format_double,
    names_zone,
    nearest_float,
    parse_date,
    parse_decimal,
    parse_timestamp,
)
from cdc_local.errors import NeedsSparkError

Converter = Callable[[JsonTokens], Any]
_STARTS = (JsonToken.START_OBJECT, JsonToken.START_ARRAY)
_NUMBERS = (JsonToken.INTEGER, JsonToken.FLOAT)
_LITERALS = (JsonToken.TRUE, JsonToken.FALSE, JsonToken.NULL)
_SPECIAL_DOUBLES = {
    "NaN": "nan",
    **dict.fromkeys(("INF", "+INF", "Infinity", "+Infinity"), "inf"),
    **dict.fromkeys(("-INF", "-Infinity"), "-inf"),
}
_TO_ESCAPE = re.compile('["\\\\\x00-\x1f\ud800-\udfff]')
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")


class WrongValueError(Exception):
    "A value does not fit its type."


class PartialValueError(WrongValueError):
    "A struct, an array or a map in which something does not fit."

    def __init__(
        self,
        value: Any,  # With NULL for what does not fit
    ) -> None:
        super().__init__()
        self.value = value


@dataclass(frozen=True)
class TypedDocument:
    "What `from_json` makes of a text."

    values: Sequence[Any]  # One a field
    is_bad: bool = False  # Whether anything did not fit


class RowParser:
    "Reads documents as rows of a struct."

    def __init__(
        self,
        schema: StructType,  # NeedsSparkError for a type that is not read here
    ) -> None:
        self._width = len(schema.fields)
        self._fields = _field_converters(schema)

    def parse(
        self,
        text: str | None,
    ) -> TypedDocument:
        "Read a document as Spark's `from_json` does in mode PERMISSIVE."
        nothing = [None] * self._width
        if text is None:
            return TypedDocument(nothing)
        tokens = JsonTokens(text)
        try:
            token = tokens.next()
            if token is None:
                return TypedDocument(nothing)
            if token is not JsonToken.START_OBJECT:
                return TypedDocument(nothing, True)
            return TypedDocument(_read_object(tokens, self._fields, self._width))
        except PartialValueError as part:
            return TypedDocument(part.value, True)
        except (JsonSyntaxError, WrongValueError):
            return TypedDocument(nothing, True)


def read_raw(
    text: str | None,  # A JSON document
) -> list[tuple[str, str | None]] | None:  # Keys with their values as JSON text; None if it is no object
    """Read a document as `map<string,variant>`, so that numbers stay numbers; what VARIANT refuses, as a key
    that occurs twice deep inside, leaves the values as text."""
    for read_value in (_variant_text, _text_as_variant):
        try:
            tokens = JsonTokens(text or "")
            if tokens.next() is not JsonToken.START_OBJECT:
                return None
            return [(_encodable(name), value) for name, value in _read_pairs(tokens, read_value)]
        except (JsonSyntaxError, WrongValueError):
            continue
    return None


def read_elements(
    text: str,  # Begins with `[`
) -> list[str | None] | None:  # The elements, as JSON texts; None if it is no array
    "Spread an array: elements as VARIANT writes them, or, where VARIANT refuses one, as texts."
    for read_value in (_variant_text, _read_string):
        try:
            tokens = JsonTokens(text)
            tokens.next()
            return _read_elements(tokens, read_value)
        except (JsonSyntaxError, WrongValueError):
            continue
    return None


def read_keys(
    text: str,  # A JSON document
) -> list[str] | None:  # None if it is no object, or no JSON
    "The top-level keys of a document, as often as each occurs."
    tokens = JsonTokens(text, allows_nan=False)
    names = []
    try:
        if tokens.next() is not JsonToken.START_OBJECT:
            return None
        while tokens.next() is not JsonToken.END_OBJECT:
            names.append(tokens.name)
            tokens.next()
            tokens.skip_children()
    except JsonSyntaxError:
        return None
    return names


def has_undeclared_key(
    text: str,  # JSON text of a value
    data_type: DataType,  # Its declared type
    no_object: bool = False,  # The answer for a text that is no object
) -> bool:
    "Whether an object in a text has a key that the type does not, nested ones included."
    try:
        tokens = JsonTokens(text, allows_nan=False)
        tokens.next()
        tree = _read_tree(tokens)
    except JsonSyntaxError:
        return no_object
    return has_undeclared_part(tree, data_type, no_object)


def write_string(
    text: str,  # Any text
) -> str:
    "Write a JSON string as Spark does; half a character, which only an escape can name, stays an escape."
    return '"' + _TO_ESCAPE.sub(lambda found: _ESCAPED.get(found[0]) or f"\\u{ord(found[0]):04X}", text) + '"'


def copy_string(
    text: str,  # Any text
) -> str:
    "Write a string inside a value that a STRING column has as text: beyond 16 bits as two escapes."
    return _BEYOND_16_BITS.sub(_escape_pair, write_string(text))


def _escape_pair(found: re.Match[str]) -> str:
    high, low = divmod(ord(found[0]) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04X}\\u{0xDC00 + low:04X}"


def write_object(
    members: Sequence[tuple[str, str | None]],  # Names with their values as JSON text, None for null
    write_name: Callable[[str], str] = write_string,  # Writes a name
) -> str:
    "Write a JSON object as Spark does."
    if any(has_half_character(name) for name, _ in members):
        raise NeedsSparkError("A JSON key with half a character (a lone surrogate) is read by Spark alone")
    return "{" + ",".join(f"{write_name(name)}:{text or 'null'}" for name, text in members) + "}"


def has_half_character(
    text: str,  # Any text
) -> bool:
    "Whether a text has one half of a pair of UTF-16, which only an escape can name."
    return _SURROGATE.search(text) is not None


def _encodable(text: str) -> str:
    "A text as UTF-8 can hold it: half a character becomes a question mark."
    return text.encode("utf-8", "replace").decode()


def has_undeclared_part(
    tree: Any,  # Objects as dicts, arrays as lists; whatever stands for other values
    data_type: DataType,  # The declared type
    no_object: bool = False,  # The answer for what is no object
) -> bool:
    "The same of a document that is parsed already."
    if isinstance(data_type, StructType):
        if not isinstance(tree, dict):
            return no_object
        nested = [field for field in data_type.fields if isinstance(field.dataType, StructType | ArrayType)]
        return not tree.keys() <= set(data_type.names) or any(
            has_undeclared_part(tree.get(field.name), field.dataType) for field in nested
        )
    if isinstance(data_type, ArrayType) and isinstance(tree, list):
        return any(has_undeclared_part(element, data_type.elementType) for element in tree)
    return False


def _read_tree(tokens: JsonTokens) -> Any:
    "Objects and arrays of the value that begins; of a key that occurs twice the first value but null."
    if tokens.token is JsonToken.START_ARRAY:
        return _read_elements(tokens, _read_tree)
    if tokens.token is not JsonToken.START_OBJECT:
        return True if tokens.token is not JsonToken.NULL else None
    found: dict[str, Any] = {}
    while tokens.next() is not JsonToken.END_OBJECT:
        name = tokens.name
        tokens.next()
        value = _read_tree(tokens)
        if found.get(name) is None:
            found[name] = value
    return found


def _converter(
    data_type: DataType,
) -> Converter:
    "How a value of a type is read."
    if isinstance(data_type, StructType):
        fields, width = _field_converters(data_type), len(data_type.fields)
        return _expect(JsonToken.START_OBJECT, lambda tokens: _name_fields(data_type, tokens, fields, width))
    if isinstance(data_type, ArrayType):
        element = _converter(data_type.elementType)
        return _expect(JsonToken.START_ARRAY, lambda tokens: _read_elements(tokens, element))
    if isinstance(data_type, MapType) and isinstance(data_type.keyType, StringType):
        value = _converter(data_type.valueType)
        return _expect(JsonToken.START_OBJECT, lambda tokens: _read_map(tokens, value))
    if type(data_type) is StringType:
        return _read_string
    scalar = read_scalars_of(data_type)

    def read_scalar(tokens: JsonTokens) -> Any:
        token = _enter(tokens)
        if token is None or token is JsonToken.NULL:
            return None
        text = tokens.text() if token not in _STARTS else ""
        value = None if token is JsonToken.STRING and not text else scalar(token, text)
        if value is None:
            raise WrongValueError
        return value

    return read_scalar


def _field_converters(schema: StructType) -> dict[str, tuple[int, Converter]]:
    if len(set(schema.names)) < len(schema.names):
        raise NeedsSparkError("A struct with two fields of one name is read by Spark alone")
    return {field.name: (index, _converter(field.dataType)) for index, field in enumerate(schema.fields)}


def read_scalars_of(
    data_type: DataType,  # NeedsSparkError for one that is not read here
) -> Callable[[JsonToken, str], Any]:  # Gives None for a token that does not fit
    "Choose how a token and its text become a value."
    if isinstance(data_type, BooleanType):
        return lambda token, _: {JsonToken.TRUE: True, JsonToken.FALSE: False}.get(token)
    if type(data_type) in INTEGER_BITS:
        bits = INTEGER_BITS[type(data_type)]
        return lambda token, text: _fit_integer(int(text), bits) if token is JsonToken.INTEGER else None
    if isinstance(data_type, DoubleType | FloatType):
        parse = nearest_float if isinstance(data_type, FloatType) else float
        return lambda token, text: _read_double(token, text, parse)
    if isinstance(data_type, TimestampType):
        return _read_timestamp
    if isinstance(data_type, TimestampNTZType):
        return _read_timestamp_without_zone
    if isinstance(data_type, DateType):
        return lambda token, text: _read_date(text) if token is JsonToken.STRING else None
    if isinstance(data_type, DecimalType):
        return lambda token, text: _read_decimal(token, text, data_type)
    raise NeedsSparkError(f"JSON is read as {data_type.simpleString()} by Spark alone")


def _fit_integer(value: int, bits: int) -> int | None:
    if bits == 8 and 128 <= value <= 255:
        return value - 256  # Spark's parser takes an unsigned byte too
    return value if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else None


def _read_double(token: JsonToken, text: str, parse: Callable[[str], float]) -> float | None:
    if token in _NUMBERS or token is JsonToken.STRING:
        if text in _SPECIAL_DOUBLES:
            return float(_SPECIAL_DOUBLES[text])
        if token is JsonToken.INTEGER and not int(text):
            return 0.0  # -0 too
        return parse(text) if token in _NUMBERS else None
    return None


def _read_timestamp(token: JsonToken, text: str) -> int | None:
    if token is JsonToken.INTEGER:
        seconds = _fit_integer(int(text), 64)
        return None if seconds is None else (seconds * 1_000_000 + 2**63) % 2**64 - 2**63  # wraps, as Spark's
    if token is not JsonToken.STRING:
        return None
    value = parse_timestamp(text)
    return value if value is not None or "GMT" not in text else parse_timestamp(text.replace("GMT", ""))


def _read_timestamp_without_zone(token: JsonToken, text: str) -> int | None:
    return None if token is not JsonToken.STRING or names_zone(text) else parse_timestamp(text, False)


def _read_date(text: str) -> int | None:
    value = parse_date(text)
    if value is None and "GMT" in text:
        value = parse_date(text.replace("GMT", ""))
    if value is None and re.fullmatch(r"[+-]?[0-9]{1,10}", text):
        days = int(text)  # Spark 1.5 wrote dates so
        if -(2**31) <= days < -141_427:
            raise NeedsSparkError(
                f"The date {text}, days before the Gregorian calendar, is read by Spark alone"
            )
        return days if days < 2**31 and days >= -(2**31) else None
    return value


def _read_decimal(token: JsonToken, text: str, data_type: DecimalType) -> Any:
    if token not in (*_NUMBERS, JsonToken.STRING) or text in _SPECIAL_DOUBLES:
        return None
    return parse_decimal(text.replace(",", "") if token is JsonToken.STRING else text, data_type)


def _enter(tokens: JsonTokens) -> JsonToken | None:
    "Go from a field's name to its value."
    return tokens.next() if tokens.token is JsonToken.NAME else tokens.token


def _expect(start: JsonToken, read: Converter) -> Converter:
    def convert(tokens: JsonTokens) -> Any:
        token = _enter(tokens)
        if token is None or token is JsonToken.NULL:
            return None
        if token is not start:
            if token is JsonToken.STRING:
                tokens.text()
            raise WrongValueError
        return read(tokens)

    return convert


def _read_object(
    tokens: JsonTokens,  # At an object's start
    fields: dict[str, tuple[int, Converter]],  # Name -> position and reader
    width: int,  # Number of fields
) -> list[Any]:  # A value a field
    row = [None] * width
    is_bad = False
    while tokens.next() not in (None, JsonToken.END_OBJECT):
        if tokens.name not in fields:
            tokens.skip_children()
            continue
        index, convert = fields[tokens.name]
        try:
            row[index] = convert(tokens)
        except PartialValueError as part:
            is_bad, row[index] = True, part.value
        except (WrongValueError, JsonSyntaxError):
            is_bad = True
            tokens.skip_children()
    if is_bad:
        raise PartialValueError(row)
    return row


def _name_fields(
    data_type: StructType, tokens: JsonTokens, fields: dict[str, tuple[int, Converter]], width: int
) -> dict[str, Any]:
    try:
        return dict(zip(data_type.names, _read_object(tokens, fields, width), strict=True))
    except PartialValueError as part:
        raise PartialValueError(dict(zip(data_type.names, part.value, strict=True))) from None


def _read_elements(
    tokens: JsonTokens,  # At an array's start
    convert: Converter,
) -> list[Any]:
    values = []
    is_bad = False
    while tokens.next() not in (None, JsonToken.END_ARRAY):
        try:
            values.append(convert(tokens))
        except PartialValueError as part:
            is_bad = True
            values.append(part.value)
    if is_bad:
        raise PartialValueError(values)
    return values


def _read_pairs(
    tokens: JsonTokens,  # At an object's start
    convert: Converter,
) -> list[tuple[str, Any]]:
    pairs = []
    is_bad, is_wrong = False, False
    while tokens.next() not in (None, JsonToken.END_OBJECT):
        name = tokens.name
        try:
            pairs.append((name, convert(tokens)))
        except PartialValueError as part:
            is_bad = True
            pairs.append((name, part.value))
        except (WrongValueError, JsonSyntaxError):
            is_wrong = True
            tokens.skip_children()
    if is_wrong:
        raise WrongValueError
    if is_bad:
        raise PartialValueError(pairs)
    return pairs


def _read_map(tokens: JsonTokens, convert: Converter) -> list[tuple[str, Any]]:
    try:
        pairs = _read_pairs(tokens, convert)
    except PartialValueError as part:
        pairs = part.value
        _refuse_double_keys(pairs)
        raise
    _refuse_double_keys(pairs)
    return pairs


def _refuse_double_keys(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise NeedsSparkError("A JSON key that occurs twice in a MAP is read by Spark alone")


def _read_string(tokens: JsonTokens) -> str | None:
    "A STRING column takes any value: what is no string as Spark writes it."
    token = _enter(tokens)
    if token is None or token is JsonToken.NULL:
        return None
    if token is JsonToken.STRING:
        return _encodable(tokens.text())
    return _copy(tokens)


def _copy(tokens: JsonTokens) -> str:
    "The value that begins as JSON text, numbers as Spark writes them."
    token = tokens.token
    if token is JsonToken.START_ARRAY:
        return "[" + ",".join(_read_plain_elements(tokens, _copy)) + "]"
    if token is JsonToken.START_OBJECT:
        return write_object(_read_members(tokens, _copy), copy_string)
    if token is JsonToken.STRING:
        return copy_string(tokens.text())
    if token is JsonToken.INTEGER:
        return str(int(tokens.text()))
    if token is JsonToken.FLOAT:
        return write_double(tokens.text())
    if token not in _LITERALS:
        raise WrongValueError
    return str(token.value)


def _read_plain_elements(tokens: JsonTokens, read: Callable[[JsonTokens], str]) -> list[str]:
    values = []
    while tokens.next() is not JsonToken.END_ARRAY:
        values.append(read(tokens))
    return values


def _read_members(tokens: JsonTokens, read: Callable[[JsonTokens], str]) -> list[tuple[str, str]]:
    members = []
    while tokens.next() is not JsonToken.END_OBJECT:
        name = tokens.name
        tokens.next()
        members.append((name, read(tokens)))
    return members


def _variant_text(tokens: JsonTokens) -> str:
    "The value that begins as VARIANT writes it; WrongValueError for what VARIANT refuses."
    token = _enter(tokens)
    if token is JsonToken.START_ARRAY:
        return "[" + ",".join(_read_plain_elements(tokens, _variant_text)) + "]"
    if token is JsonToken.START_OBJECT:
        members = _read_members(tokens, _variant_text)
        if len(dict(members)) < len(members) or any(has_half_character(name) for name, _ in members):
            raise WrongValueError
        members.sort(key=lambda member: member[0].encode("utf-16-be", "surrogatepass"))
        return write_object(members)
    if token is JsonToken.STRING:
        if has_half_character(tokens.text()):
            raise WrongValueError
        return write_string(tokens.text())
    if token in _NUMBERS:
        return write_variant_number(tokens.text())
    if token not in _LITERALS:
        raise WrongValueError
    return str(token.value)


def write_variant_number(
    text: str,  # A number as JSON has it, or NaN and the like
) -> str:
    "Write a number as VARIANT does, which keeps decimal ones exact."
    if text in _SPECIAL_DOUBLES:
        return write_double(text)
    if re.fullmatch(r"-?[0-9]+", text) and -(2**63) <= int(text) < 2**63:
        return str(int(text))
    whole, _, fraction = text.lstrip("-").partition(".")
    if re.fullmatch(r"[-.0-9]+", text) and len(fraction) <= 38 and len((whole + fraction).lstrip("0")) <= 38:
        fraction = fraction.rstrip("0")
        number = f"{whole}.{fraction}" if fraction else whole
        return f"-{number}" if text.startswith("-") and number.strip("0.") else number
    return write_double(text)


def write_double(
    text: str,  # A number as JSON has it, or NaN and the like
) -> str:
    "Write a DOUBLE as JSON text."
    number = format_double(float(_SPECIAL_DOUBLES.get(text, text)))
    return number if number[-1].isdigit() else f'"{number}"'


def _text_as_variant(tokens: JsonTokens) -> str | None:
    text = _read_string(tokens)
    return None if text is None else write_string(text)
