"""Files without Spark: rows as Arrow batches, with the columns and values that Spark's reader gives.

What is not known to be read as Spark reads it raises `NeedsSparkError`, by name."""

import bz2
import gzip
import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote, unquote

import pyarrow
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StringType, StructField, StructType

from cdc_local.autoloader.ahead import map_ahead
from cdc_local.autoloader.csv_inference import infer_csv_texts
from cdc_local.autoloader.csv_positions import PositionalCsvReader
from cdc_local.autoloader.csv_rows import CsvReader
from cdc_local.autoloader.file_formats import CSV, JSON, PARQUET, TEXT
from cdc_local.autoloader.json_inference import infer_json_texts
from cdc_local.autoloader.json_rows import JsonReader, decode_text
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.parquet_rows import infer_parquet_columns, read_parquet_file
from cdc_local.autoloader.value_texts import cast_text, parse_timestamp
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.storage import strip_scheme

METADATA = pyarrow.struct(
    [
        ("file_path", pyarrow.string()),
        ("file_name", pyarrow.string()),
        ("file_size", pyarrow.int64()),
        ("file_block_start", pyarrow.int64()),
        ("file_block_length", pyarrow.int64()),
        ("file_modification_time", pyarrow.timestamp("us", tz="UTC")),
    ]
)
_CHUNK = 1 << 22  # Bytes of a file that are read at once
_LINES = 500  # Lines that are parsed at once
_COMPRESSED = (".deflate", ".lz4", ".snappy", ".zst", ".zstd", ".xz")
_UNQUOTED = "/:@!$&'()*+,;=~-._"  # What stays as it is in the URI of a file
_BLANK = ("Zs", "Zl", "Zp", "Cc")  # Unicode categories of spaces and control characters


@dataclass(frozen=True)
class LandedFile:
    "A file as Spark's column `_metadata` tells of it."

    path: Path
    uri: str
    size: int  # Bytes
    modified: int  # Microseconds since 1970, in whole milliseconds

    @classmethod
    def find(
        cls,
        file: str,  # A path or a `file:` URI without escapes
    ) -> "LandedFile":
        "Look at a file."
        path = Path(strip_scheme(file)).absolute()
        status = path.stat()
        return cls(path, file_uri(path), status.st_size, status.st_mtime_ns // 1_000_000 * 1000)

    def metadata(
        self,
        rows: int,  # How many rows
    ) -> pyarrow.Array:
        "The column `_metadata` of rows of this file."
        values = (self.uri, quote_for_uri(self.path.name), self.size, 0, self.size, self.modified)
        arrays = [
            pyarrow.repeat(pyarrow.scalar(value, field.type), rows)
            for value, field in zip(values, METADATA, strict=True)
        ]
        return pyarrow.StructArray.from_arrays(arrays, fields=list(METADATA))


def file_uri(
    path: Path,  # Absolute
) -> str:
    "Name a file as `_metadata.file_path` does."
    return f"file:{quote_for_uri(str(path))}"


def quote_for_uri(
    text: str,  # A path, or a part of one
) -> str:
    "Escape what may not stand in a URI: of what is not ASCII spaces and control characters."
    return "".join(
        char
        if not char.isascii() and unicodedata.category(char) not in _BLANK
        else quote(char, safe=_UNQUOTED)
        for char in text
    )


def arrow_schema(
    layout: Layout,  # The columns wanted
) -> pyarrow.Schema:
    "The columns of what `parse_files` gives."
    return to_arrow_schema(layout.schema, timezone="UTC").append(pyarrow.field("_metadata", METADATA))


def parse_files(
    files: Sequence[str],  # Paths, in the order in which they are read
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
    started: float,  # Seconds since 1970 of the first evaluation
) -> Iterator[pyarrow.RecordBatch]:  # Columns as `arrow_schema`
    "Read files as Auto Loader does on Spark; NeedsSparkError for what only Spark reads."
    schema = arrow_schema(layout)
    read = _find_reader(layout, options)
    special = {layout.rescued, layout.corrupt, *layout.partitions}
    for name in (layout.rescued, layout.corrupt):
        if name in layout.schema.names and type(layout.schema[name].dataType) is not StringType:
            raise NeedsSparkError(f"A column {name} that is no STRING is read by Spark alone")
    for file in _select_by_time([LandedFile.find(file) for file in files], options, started):
        partitions = {
            field.name: partition_value(field, layout.root, file.path)
            for field in layout.schema.fields
            if field.name in layout.partitions
        }
        for data, rescued, corrupt in read(file):
            rows = len(rescued)
            if not rows:
                continue
            by_name = dict(zip([field.name for field in layout.data], data, strict=True))
            columns = []
            for field in schema:
                if field.name == "_metadata":
                    columns.append(file.metadata(rows))
                elif field.name not in special:
                    columns.append(by_name[field.name])
                elif field.name in layout.partitions:
                    columns.append(pyarrow.repeat(pyarrow.scalar(partitions[field.name], field.type), rows))
                else:
                    columns.append(rescued if field.name == layout.rescued else corrupt)
            yield pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def check_readable(
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> None:
    "Raise `NeedsSparkError` where files are such as only Spark reads, as far as can be told without them."
    _find_reader(layout, options)


def infer_in_python(
    files: Sequence[str],  # Paths of the files to look at
    options: Options,  # Of the read
) -> StructType:  # Their columns, of which names may differ in case only
    "Infer the columns of files as Spark does; NeedsSparkError where only Spark does."
    _refuse_options(options)
    given = {name: value.lower() for name, value in options.parser_options.items()}
    refused = given.keys() & {"prefersdecimal", "infertimestamp", "samplingratio", "preferdate"}
    for name in sorted(refused):
        raise NeedsSparkError(f"Auto Loader's option {name} is obeyed by Spark alone")
    if options.format is JSON:
        texts = (some for file in files for some in read_texts(LandedFile.find(file).path, options))
        flags = (given.get(name) == "true" for name in ("primitivesasstring", "dropfieldifallnull"))
        return infer_json_texts(texts, *flags)
    paths = [LandedFile.find(file).path for file in files]
    if options.format is CSV:
        return infer_csv_texts(map(read_file, paths), options)
    if options.format is PARQUET:
        return infer_parquet_columns(paths)
    raise NeedsSparkError(f"The columns of format {options.format.name} are inferred by Spark alone")


FileColumns = tuple[list[pyarrow.Array], pyarrow.Array, pyarrow.Array]  # Data, rescued, corrupt


def _find_reader(
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> Callable[[LandedFile], Iterator[FileColumns]]:
    "Choose who reads a file; NeedsSparkError for a format or an option that is Spark's."
    _refuse_options(options)
    if options.format is JSON:
        reader = JsonReader(layout, options)

        def read_json(file: LandedFile) -> Iterator[FileColumns]:
            parse = partial(reader.read, file_path=file.uri)
            for *data, rescued, corrupt in map_ahead(parse, read_texts(file.path, options)):
                yield data, rescued, corrupt

        return read_json
    if options.format is CSV:
        csv_reader = (CsvReader if layout.rescued else PositionalCsvReader)(layout, options)

        def read_csv(file: LandedFile) -> Iterator[FileColumns]:
            for *data, rescued, corrupt in csv_reader.read(read_file(file.path), file.uri):
                yield data, rescued, corrupt

        return read_csv
    if options.format is TEXT:
        _refuse_more_than_text(layout)

        def read_text(file: LandedFile) -> Iterator[FileColumns]:
            for texts in read_texts(file.path, options):
                values = [text.decode("utf-8", "replace") for text in texts]
                yield [pyarrow.array(values, pyarrow.string())], *_nothing(len(values))

        return read_text
    if options.format is PARQUET:

        def read_parquet(file: LandedFile) -> Iterator[FileColumns]:
            for data in read_parquet_file(file.path, layout):
                yield data, *_nothing(len(data[0]))

        if not layout.data:
            raise NeedsSparkError("Parquet of which no column is read is counted by Spark alone")
        return read_parquet
    raise NeedsSparkError(f"Auto Loader's format {options.format.name} is read by Spark alone")


def _nothing(rows: int) -> tuple[pyarrow.Array, pyarrow.Array]:  # Nothing rescued, nothing corrupt
    return pyarrow.nulls(rows, pyarrow.string()), pyarrow.nulls(rows, pyarrow.string())


def _refuse_more_than_text(layout: Layout) -> None:
    if len(layout.data) != 1 or type(layout.data[0].dataType) is not StringType:
        raise NeedsSparkError("Text that is read as anything but one STRING is read by Spark alone")


def _refuse_options(options: Options) -> None:
    "NeedsSparkError for an option whose effect only Spark has."
    if options.encoding.upper() not in ("UTF-8", "UTF8"):
        raise NeedsSparkError(f"Files in the encoding {options.encoding} are read by Spark alone")
    for name in sorted(_options_of_spark(options)):
        raise NeedsSparkError(f"Auto Loader's option {name} is obeyed by Spark alone")
    for name in ("ignorecorruptfiles", "ignoremissingfiles"):
        if options.file_filters.get(name, "false").lower() == "true":
            raise NeedsSparkError(f"Auto Loader's option {name} is obeyed by Spark alone")


def _options_of_spark(options: Options) -> set[str]:
    "The options of a read, by key, that change what is read and are not obeyed here."
    if options.format is JSON:
        return {*options.json_options}
    if options.format is CSV:
        known = {*options.text_options, *options.csv_options, "header", "enforceschema"}
        return {*options.parser_options} - known  # of the options of CSV, `CsvDialect` refuses its own
    known = {"linesep", "wholetext"} if options.format is TEXT else {"mergeschema"}
    return {*options.parser_options, *options.record_options} - known - {"encoding", "charset"}


def _select_by_time(
    files: Sequence[LandedFile],
    options: Options,  # Of the read
    started: float,  # Seconds since 1970 of the first evaluation
) -> list[LandedFile]:
    "Obey `modifiedAfter`, `modifiedBefore` and `includeExistingFiles`."
    after = _parse_limit("modifiedAfter", options.modified_after)
    before = _parse_limit("modifiedBefore", options.modified_before)
    if not options.include_existing_files:
        after = max(int(started * 1e6), -(2**63) if after is None else after)
    return [
        file
        for file in files
        if (after is None or file.modified > after) and (before is None or file.modified < before)
    ]


def _parse_limit(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    value = parse_timestamp(text)
    if value is None:
        raise PipelineError(
            f"Auto Loader option {name} is {text!r}", hint="write a timestamp such as 2026-01-31T00:00:00"
        )
    return value


def partition_value(
    field: StructField,  # A column that folder names hold
    root: str,  # The folder that is read
    path: Path,  # Of the file
) -> object:  # None where the path has none, or one of another type
    "Read `name=value` out of a file's path."
    below = f"file:{path}"
    below = below.partition(root)[2] if root in below else below
    found = re.search(f"/{re.escape(field.name)}=([^/]*)/", below)
    if not found or found[1] in ("", "__HIVE_DEFAULT_PARTITION__"):
        return None
    return cast_text(_decode_escapes(found[1]), field.dataType)


def _decode_escapes(text: str) -> str:
    return text if re.search(r"%(?![0-9a-fA-F]{2})", text) else unquote(text, errors="replace")


def read_file(
    path: Path,  # A file of text, compressed or not
) -> str:
    "The text of a whole file."
    with _open(path) as file:
        return decode_text(file.read())


def read_texts(
    path: Path,  # A file of text
    options: Options,  # Of the read
) -> Iterator[list[bytes]]:  # Some lines each time, or the whole file once
    "Read the lines of a file, as Spark's `text` source splits it."
    separator = None if options.line_separator is None else options.line_separator.encode()
    with _open(path) as file:
        if options.multiline or options.parser_options.get("wholetext", "").lower() == "true":
            whole = file.read()
            yield [whole] if whole else []
            return
        mark = file.read(len(BOM_UTF8))
        rest = b"" if mark == BOM_UTF8 else mark
        while chunk := file.read(_CHUNK):
            lines = (rest + chunk).split(separator) if separator else _split_lines(rest + chunk)
            rest = lines.pop()
            for start in range(0, len(lines), _LINES):
                yield lines[start : start + _LINES]
        if rest:
            yield rest.split(separator) if separator else rest.splitlines()


def _split_lines(data: bytes) -> list[bytes]:  # Lines that end, then the rest
    end = data.rfind(b"\n") + 1
    return [*data[:end].splitlines(), data[end:]]


def _open(path: Path) -> BinaryIO:
    suffix = path.suffix
    if suffix in _COMPRESSED:
        raise NeedsSparkError(f"Files compressed as {suffix} are read by Spark alone")
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path))
    return cast(BinaryIO, bz2.open(path) if suffix == ".bz2" else path.open("rb"))
