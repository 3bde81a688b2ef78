"""JSON without Spark: lines become Arrow columns.

Lines in which every key is declared and every value is of its plain type are parsed by Arrow, many at once.
Each of the others is read alone, as `json_documents.py` has Spark read it."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.json
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from cdc_local.autoloader.json_tokens import MAX_DEPTH, MAX_NUMBER, MAX_TEXT
from cdc_local.autoloader.json_trees import TreeRowParser, parse_tree, variant_text
from cdc_local.autoloader.json_values import (
    RowParser,
    has_undeclared_key,
    has_undeclared_part,
    read_elements,
    read_keys,
    read_raw,
    write_object,
    write_string,
)
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.value_texts import INTEGER_BITS, parse_date, parse_timestamp
from cdc_local.errors import NeedsSparkError, PipelineError

_SPACE = " \t\r\n"
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (MAX_NUMBER // 2))
_SPECIAL_NUMBER = re.compile(rb"[:\[,][ \t]*-?(?:Inf|NaN)[a-z]*[ \t]*[,}\]]")
_FEW = 8  # Texts that are read alone at once
_NULL = type(None)
_PYTHON_TYPES: dict[str, set[type]] = {
    "string": {str, _NULL},
    "bool": {bool, _NULL},
    "double": {float, int, _NULL},
    **{f"int{bits}": {int, _NULL} for bits in INTEGER_BITS.values()},
}
_PLAIN_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z$"
_PLAIN_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


@dataclass(frozen=True)
class Row:
    "One document, read."

    values: Sequence[Any]  # One a data column of the layout
    rescued: str | None = None  # What fits no column, as JSON text
    corrupt: str | None = None  # The text that could not be parsed


class DocumentReader:
    "Reads documents one by one, each as `json_documents.parse_documents` has Spark read it."

    def __init__(
        self,
        layout: Layout,  # The columns wanted
        options: Options,  # Of the read
    ) -> None:
        self._layout, self._options = layout, options
        self._schema = StructType(layout.data)
        self._names = {field.name for field in layout.data}
        self._parser, self._tree_parser = RowParser(self._schema), TreeRowParser(self._schema)
        self._alone = {
            field.name: RowParser(StructType([StructField("value", field.dataType)]))
            for field in layout.data
            if isinstance(field.dataType, StructType | ArrayType | MapType)
        }
        self._spelled = {field.name.lower(): field.name for field in reversed(layout.data)}

    def read_text(
        self,
        text: str,  # A line, or a file
        file_path: str,  # `_metadata.file_path`
    ) -> list[Row]:  # One a document; none for an empty text and for what the option `mode` drops
        "Read a text as documents: one, or the elements of an array."
        if not text.strip(_SPACE):
            return []
        tree = parse_tree(text)
        if tree is not None and (self._options.is_case_sensitive or all(map(self._is_spelled_right, tree))):
            row = self._read_tree(tree, text, file_path)
            return [] if row is None else [row]
        documents: list[str | None] = [text]
        if text.lstrip(_SPACE).startswith("["):
            elements = read_elements(text)
            documents = [text] if elements is None else elements
        if not self._options.is_case_sensitive:
            documents = [self._respell(document) for document in documents]
        rows = (self._read_document(document, file_path) for document in documents)
        return [row for row in rows if row is not None]

    def _read_document(self, document: str | None, file_path: str) -> Row | None:
        typed = self._parser.parse(document)
        if not self._layout.rescued:
            row = Row(typed.values, None, document if typed.is_bad else None)
            return self._treat_malformed(row, document) if typed.is_bad else row
        is_undeclared = document is None or has_undeclared_key(document, self._schema, no_object=True)
        raw = read_raw(document) if typed.is_bad or is_undeclared else None
        if raw is not None:
            first: dict[str, str | None] = {}
            for name, value in raw:  # of a key that occurs twice, Spark's map gives the first value
                first.setdefault(name, value)
            return Row(typed.values, self._rescue(typed.values, first, file_path))
        if typed.is_bad:
            return self._treat_malformed(Row(typed.values, None, document), document)
        return Row(typed.values)

    def _read_tree(self, tree: dict[str, Any], text: str, file_path: str) -> Row | None:
        typed = self._tree_parser.parse(tree)
        if not self._layout.rescued:
            row = Row(typed.values, None, text if typed.is_bad else None)
            return self._treat_malformed(row, text) if typed.is_bad else row
        if not typed.is_bad and not has_undeclared_part(tree, self._schema):
            return Row(typed.values)
        return Row(typed.values, self._rescue(typed.values, _LazyTexts(tree), file_path))

    def _treat_malformed(self, row: Row, document: str | None) -> Row | None:
        "Obey the option `mode`; any other mode is as PERMISSIVE."
        if self._options.mode == "FAILFAST":
            raise PipelineError(f"Auto Loader, mode FAILFAST: malformed record: {document}")
        return None if self._options.mode == "DROPMALFORMED" else row

    def _rescue(
        self,
        values: Sequence[Any],  # Of the data columns, as parsed
        texts: Mapping[str, str | None],  # The document's keys with their values as JSON text
        file_path: str,
    ) -> str | None:  # JSON text; None where everything fits
        wrong = [
            field.name
            for field, value in zip(self._layout.data, values, strict=True)
            if self._is_mistyped(field, value, texts.get(field.name))
        ]
        undeclared = [name for name in texts if name not in self._names]
        names = wrong + undeclared
        if not names:
            return None
        if "_file_path" in names:
            raise NeedsSparkError(
                "A JSON key _file_path, which rescued values have of their own, needs Spark"
            )
        kept = [(name, texts[name]) for name in names]
        return write_object([*kept, ("_file_path", write_string(file_path))])

    def _is_mistyped(self, field: StructField, value: Any, text: str | None) -> bool:
        if isinstance(field.dataType, StringType) or text is None or text == "null":
            return False
        if field.name not in self._alone:
            return value is None
        again = self._alone[field.name].parse(f'{{"value":{text}}}')
        return again.is_bad or has_undeclared_key(text, field.dataType)

    def _respell(self, document: str | None) -> str | None:
        "Spell the top-level keys of a document as they are declared."
        names = read_keys(document) if document is not None else None
        if document is None or names is None or all(map(self._is_spelled_right, names)):
            return document
        raw = read_raw(document)
        if raw is None or len({self._spell(name) for name in names}) < len(names):
            raise NeedsSparkError("A JSON key in two spellings, and readerCaseSensitive false, need Spark")
        return write_object([(self._spell(name), text) for name, text in raw])

    def _spell(self, name: str) -> str:
        return self._spelled.get(name.lower(), name)

    def _is_spelled_right(self, name: str) -> bool:
        return self._spell(name) == name


class _LazyTexts(Mapping[str, str | None]):
    "The values of a document as VARIANT writes them, each written when it is asked for."

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree

    def __getitem__(self, name: str) -> str:
        return variant_text(self._tree[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)


class JsonReader:
    "Reads JSON texts as the data columns of a layout, then what is rescued and what is corrupt."

    def __init__(
        self,
        layout: Layout,  # The columns wanted
        options: Options,  # Of the read
    ) -> None:
        self._documents = DocumentReader(layout, options)
        self._plain = PlainLines(layout, options.is_case_sensitive)
        self._types = [*self._plain.types, pyarrow.string(), pyarrow.string()]

    def read(
        self,
        texts: Sequence[bytes],  # Lines, or one whole file
        file_path: str,  # `_metadata.file_path`
    ) -> list[pyarrow.Array]:  # The data columns, the rescued one, the corrupt one
        "Read texts in their order."
        pieces: list[_Piece] = []
        texts = [text for text in texts if text.strip(b" \t\r\n")]
        self._read_into(pieces, list(range(len(texts))), texts, file_path)
        if len(pieces) == 1:
            return pieces[0].columns
        if not pieces:
            return [pyarrow.nulls(0, kind) for kind in self._types]
        numbers = numpy.concatenate([piece.numbers for piece in pieces])
        order = pyarrow.array(numpy.argsort(numbers, kind="stable"))
        columns = zip(*(piece.columns for piece in pieces), strict=True)
        return [pyarrow.concat_arrays(parts).take(order) for parts in columns]

    def _read_into(
        self,
        pieces: list["_Piece"],  # Takes the rows
        numbers: list[int],  # Of the texts
        texts: Sequence[bytes],
        file_path: str,
    ) -> None:
        if not texts:
            return
        table = self._plain.parse(texts) if len(texts) > _FEW else None
        if table is not None:
            self._take_table(pieces, table, numbers, texts, file_path)
            return
        plain = [index for index, text in enumerate(texts) if self._plain.looks_plain(text)]
        if not plain or len(texts) <= _FEW:
            self._read_alone(pieces, numbers, texts, file_path)
        elif len(plain) < len(texts):
            others = sorted(set(range(len(texts))) - set(plain))
            self._read_into(pieces, _choose(numbers, plain), _choose(texts, plain), file_path)
            self._read_alone(pieces, _choose(numbers, others), _choose(texts, others), file_path)
        else:
            middle = len(texts) // 2
            self._read_into(pieces, numbers[:middle], texts[:middle], file_path)
            self._read_into(pieces, numbers[middle:], texts[middle:], file_path)

    def _take_table(
        self,
        pieces: list["_Piece"],  # Takes the rows
        table: "PlainTable",  # The texts, parsed
        numbers: list[int],  # Of the texts
        texts: Sequence[bytes],
        file_path: str,
    ) -> None:
        nothing = pyarrow.nulls(len(texts), pyarrow.string())
        columns = [*table.columns, nothing, nothing]
        if not table.odd:
            pieces.append(_Piece(numpy.array(numbers), columns))
            return
        kept = numpy.setdiff1d(numpy.arange(len(texts)), table.odd)
        columns = [column.take(pyarrow.array(kept)) for column in columns]
        pieces.append(_Piece(numpy.array(numbers)[kept], columns))
        self._read_alone(pieces, _choose(numbers, table.odd), _choose(texts, table.odd), file_path)

    def _read_alone(
        self, pieces: list["_Piece"], numbers: list[int], texts: Sequence[bytes], file_path: str
    ) -> None:
        rows, of_text = [], []
        for number, text in zip(numbers, texts, strict=True):
            found = self._documents.read_text(decode_text(text), file_path)
            rows += [(*row.values, row.rescued, row.corrupt) for row in found]
            of_text += [number] * len(found)
        columns = [
            pyarrow.array([row[index] for row in rows], kind) for index, kind in enumerate(self._types)
        ]
        pieces.append(_Piece(numpy.array(of_text, dtype=int), columns))


def _choose(items: Sequence[Any], chosen: Sequence[int]) -> list[Any]:
    return [items[index] for index in chosen]


@dataclass(frozen=True)
class _Piece:
    "Rows of some texts."

    numbers: Any  # Numpy array: of each row its text's number
    columns: list[pyarrow.Array]


@dataclass(frozen=True)
class PlainTable:
    "Lines that Arrow parsed."

    columns: list[pyarrow.Array]  # One a data column
    odd: list[int]  # Lines that have to be read alone: a text in them stands for no value of its column


class PlainLines:
    "Parses lines with Arrow, if nothing is off in any of them."

    def __init__(
        self,
        layout: Layout,  # The columns wanted
        is_case_sensitive: bool,  # Whether a key in another spelling is another key
    ) -> None:
        self._fields = layout.data
        self._ignores = not layout.rescued and is_case_sensitive  # keys that nobody declared
        self.types = list(to_arrow_schema(StructType(self._fields), timezone="UTC").types)
        plain = {field.name: _plain_type(field.dataType) for field in self._fields}
        self.can_parse = bool(plain) and None not in plain.values()
        if not self.can_parse:
            return
        self._takes_any_number = self._ignores or pyarrow.float64() in plain.values()
        self._options = pyarrow.json.ParseOptions(
            explicit_schema=pyarrow.schema(plain.items()),
            unexpected_field_behavior="ignore" if self._ignores else "error",
        )
        self._python_types = {name: _PYTHON_TYPES[str(kind)] for name, kind in plain.items()}

    def parse(
        self,
        lines: Sequence[bytes],  # Not empty
    ) -> PlainTable | None:  # None where some line has to be read alone
        "Parse lines that are a document each."
        if not self.can_parse:
            return None
        block = b"\n".join(lines)
        if not self._is_safe(block, lines):
            return None
        read = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        try:
            table = pyarrow.json.read_json(pyarrow.BufferReader(block), read, self._options)
            if table.num_rows != len(lines):
                return None
            columns, odd = [], set()
            for field, kind in zip(self._fields, self.types, strict=True):
                column, wrong = _convert(table.column(field.name).combine_chunks(), field.dataType, kind)
                columns.append(column)
                odd.update(wrong)
            return PlainTable(columns, sorted(odd))
        except pyarrow.ArrowInvalid:
            return None

    def looks_plain(
        self,
        line: bytes,
    ) -> bool:
        "Whether a line may be parsed with others; a quick look, for lines of which not all can be."
        if not self.can_parse:
            return False
        try:
            document = json.loads(line.decode())
        except (ValueError, RecursionError):
            return False
        if type(document) is not dict:
            return False
        known = self._python_types
        return all(
            type(value) in known[name] if name in known else self._ignores for name, value in document.items()
        )

    def _is_safe(self, block: bytes, lines: Sequence[bytes]) -> bool:
        "Whether Arrow reads a block as Spark does, or finds a fault in it."
        if not _is_one_object_a_line(block, len(lines)) or len(block) > MAX_TEXT:
            return False
        if b"\\u" in block and _HALF_CHARACTER.search(block):
            return False
        if self._takes_any_number and not _has_plain_numbers(block, lines):
            return False
        if self._ignores and block.count(b"{") + block.count(b"[") > len(lines) + MAX_DEPTH:
            return all(line.count(b"{") + line.count(b"[") < MAX_DEPTH for line in lines)
        try:
            block.decode()
        except UnicodeDecodeError:
            return False
        return True


def decode_text(
    data: bytes,  # A line, or a file
) -> str:
    "Decode UTF-8, replace what is none, leave out the byte order mark."
    return data.decode("utf-8", "replace").lstrip("\ufeff")


def _is_one_object_a_line(block: bytes, count: int) -> bool:
    """Whether each line begins and ends as an object does. Where there are as many objects as lines too, each
    line is one: no object holds an end of a line between `}` and `{`."""
    return (
        block.startswith(b"{")
        and block.endswith(b"}")
        and block.count(b"}\n{") == count - 1
        and b"\r" not in block
    )


def _has_plain_numbers(block: bytes, lines: Sequence[bytes]) -> bool:
    "Whether no number is longer than Spark takes, or spelled as only Arrow takes it."
    if max(map(len, lines)) > MAX_NUMBER and _LONG_NUMBER.search(block):
        return False
    return not ((b"Inf" in block or b"NaN" in block) and _SPECIAL_NUMBER.search(block))


def _plain_type(
    data_type: DataType,
) -> pyarrow.DataType | None:  # As Arrow is to parse it; None where Arrow reads it otherwise than Spark
    if type(data_type) is StringType or isinstance(data_type, TimestampType | DateType):
        return pyarrow.string()
    if type(data_type) in INTEGER_BITS:
        return pyarrow.type_for_alias(f"int{INTEGER_BITS[type(data_type)]}")
    if isinstance(data_type, BooleanType):
        return pyarrow.bool_()
    return pyarrow.float64() if isinstance(data_type, DoubleType) else None


def _convert(
    column: pyarrow.Array,  # As Arrow parsed it
    data_type: DataType,
    wanted: pyarrow.DataType,
) -> tuple[pyarrow.Array, list[int]]:  # The values, and the rows whose text stands for none
    if isinstance(data_type, TimestampType):
        return _convert_texts(column, wanted, _PLAIN_TIMESTAMP, parse_timestamp)
    if isinstance(data_type, DateType):
        return _convert_texts(column, wanted, _PLAIN_DATE, parse_date)
    if isinstance(data_type, DoubleType) and _has_negative_zero(column):
        raise pyarrow.ArrowInvalid("-0, which as an integer is 0")
    return column.cast(wanted), []


def _has_negative_zero(column: pyarrow.Array) -> bool:
    values = column.fill_null(1).to_numpy(zero_copy_only=False)
    return bool(numpy.any((values == 0) & numpy.signbit(values)))


def _convert_texts(
    column: pyarrow.Array,  # Texts
    wanted: pyarrow.DataType,
    plain: str,  # Matches texts that Arrow reads as Spark does
    parse: Callable[[str], int | None],  # Reads the others
) -> tuple[pyarrow.Array, list[int]]:
    is_plain = pyarrow.compute.match_substring_regex(column, plain)
    if pyarrow.compute.all(is_plain).as_py() is not False:
        with contextlib.suppress(pyarrow.ArrowInvalid):  # a day that there is not
            return column.cast(wanted), []
    texts = column.to_pylist()
    values = {text: None if text is None else parse(text) for text in dict.fromkeys(texts)}
    found = [values[text] for text in texts]
    odd = [index for index, text in enumerate(texts) if text is not None and found[index] is None]
    return pyarrow.array(found, wanted), odd
