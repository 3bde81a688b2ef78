"""CSV without Spark: each line meets the header of its own file, as `csv_lines.py` has Spark read it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StringType, StructType

from cdc_local.autoloader.csv_lines import SPARE_COLUMNS
from cdc_local.autoloader.json_values import write_object, write_string
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.value_texts import cast_text
from cdc_local.errors import NeedsSparkError, PipelineError

ROWS_OF_A_BATCH = 20_000  # Of a batch
_CLOSED = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*', re.DOTALL)
_ESCAPE = re.compile(r'\\(["\\])')


@dataclass(frozen=True)
class CsvDialect:
    "How cells are told apart."

    separator: str = ","
    null: str = ""  # What stands for NULL beside nothing

    @classmethod
    def of(
        cls,
        options: Options,  # Of the read
    ) -> "CsvDialect":
        "Take it from options; NeedsSparkError for one that is Spark's."
        given = dict(options.csv_options)
        separator = given.pop("sep", given.pop("delimiter", ","))
        null = given.pop("nullvalue", "")
        defaults = {"quote": '"', "escape": "\\", "comment": options.comment, "encoding": options.encoding}
        defaults |= {"charset": options.encoding, "linesep": options.line_separator or ""}
        for name, value in given.items():
            if defaults.get(name) != value:
                raise NeedsSparkError(f"Auto Loader's option {name} for CSV is obeyed by Spark alone")
        if len(separator) != 1 or separator in '"\\\r\n\0 ':
            raise NeedsSparkError(f"CSV separated by {separator!r} is read by Spark alone")
        return cls(separator, null)

    def split(
        self,
        line: str,
    ) -> list[str | None]:  # Its cells; None for an empty one
        "Split a line into cells; NeedsSparkError for quotes that only Spark makes sense of."
        if "\0" in line or "\n" in line or "\r" in line:
            raise NeedsSparkError("A CSV line with a control character is read by Spark alone")
        if '"' not in line:
            return [None if cell in ("", self.null) else cell for cell in line.split(self.separator)]
        cells: list[str | None] = []
        position = 0
        while position <= len(line):
            quoted = line.startswith('"', position)
            text, position = self._read_quoted(line, position) if quoted else self._read_bare(line, position)
            cells.append(None if text == self.null or (text == "" and not quoted) else text)
        return cells

    def _read_bare(self, line: str, start: int) -> tuple[str, int]:  # The text, where the next cell begins
        end = line.find(self.separator, start)
        end = len(line) if end < 0 else end
        return line[start:end], end + 1

    def _read_quoted(self, line: str, start: int) -> tuple[str, int]:
        closed = _CLOSED.match(line, start)
        if closed and line[closed.end() : closed.end() + 1] in ("", self.separator):
            return _ESCAPE.sub(r"\1", closed[1]), closed.end() + 1
        quote = line.find('"', start + 1)
        end = len(line) if quote < 0 else self._read_bare(line, quote)[1] - 1
        if "\\" in line[start:end] or (quote >= 0 and self._is_unclear(line, quote)):
            raise NeedsSparkError(f"The quotes of the CSV line {line[:60]} are read by Spark alone")
        if quote < 0:  # it is never closed: the cell is the rest of the line
            return line[start + 1 :] or '"', end + 1
        if line[quote:end] == '""':
            return line[start + 1 : quote + 1], end + 1
        return line[start:end], end + 1  # a quote inside: it and all others count as written

    def _is_unclear(self, line: str, quote: int) -> bool:
        "Whether a second quote is followed by space, of which Spark makes several things."
        return bool(re.match(r'""[ \t]', line[quote:]))


class CsvReader:
    "Reads CSV texts as the data columns of a layout, then what is rescued and what is corrupt."

    def __init__(
        self,
        layout: Layout,  # The columns wanted
        options: Options,  # Of the read
    ) -> None:
        if options.multiline:
            raise NeedsSparkError("CSV with multiLine is read by Spark alone")
        self._layout, self._options, self._dialect = layout, options, CsvDialect.of(options)
        self._width = len(layout.data) + SPARE_COLUMNS
        self._fields = {field.name: field.dataType for field in layout.data}
        for kind in self._fields.values():
            cast_text("", kind)
        self._spelled = {field.name.lower(): field.name for field in layout.data}
        types = to_arrow_schema(StructType(layout.data), timezone="UTC").types
        self._types = [*types, pyarrow.string(), pyarrow.string()]

    def read(
        self,
        text: str,  # A file
        file_path: str,  # `_metadata.file_path`
    ) -> Iterator[list[pyarrow.Array]]:  # The data columns, the rescued one, the corrupt one
        "Read a file."
        lines = split_lines(text, self._options)
        names = self._name_cells(lines)
        body = lines[1:] if self._options.header else lines
        positions = {name: names.index(name) for name in self._fields if name in names}
        for start in range(0, len(body), ROWS_OF_A_BATCH):
            rows = [
                self._read_line(line, names, positions, file_path)
                for line in body[start : start + ROWS_OF_A_BATCH]
            ]
            columns = list(zip(*[row for row in rows if row is not None], strict=True))
            if columns:
                yield [pyarrow.array(values, kind) for values, kind in zip(columns, self._types, strict=True)]

    def _name_cells(self, lines: Sequence[str]) -> list[str]:
        if not lines:
            return []
        if not self._options.header:
            return [*self._fields, *(f"_c{number}" for number in range(len(self._fields), self._width))]
        cells = self._pad(self._dialect.split(lines[0]))
        names = [cell if cell is not None else f"_c{number}" for number, cell in enumerate(cells)]
        if not self._options.is_case_sensitive:
            names = [self._spelled.get(name.lower(), name) for name in names]
        if len(set(names)) < len(names):
            raise NeedsSparkError("A CSV header that has a name twice is read by Spark alone")
        return names

    def _pad(self, cells: list[str | None]) -> list[str | None]:
        return (cells + [None] * (self._width - len(cells)))[: self._width]

    def _read_line(
        self,
        line: str,
        names: Sequence[str],  # A name a cell
        positions: dict[str, int],  # Column -> its cell
        file_path: str,
    ) -> tuple[Any, ...] | None:  # None for a line that the option `mode` drops
        cells = self._pad(self._dialect.split(line))
        values, kept = [], []
        for name, kind in self._fields.items():
            text = cells[positions[name]] if name in positions else None
            trimmed = text if text is None or isinstance(kind, StringType) else text.strip(" ")
            value = None if trimmed is None else cast_text(trimmed, kind)
            values.append(value)
            if value is None and text is not None:
                kept.append((name, write_string(text)))
        kept += [
            (name, write_string(cell))
            for name, cell in zip(names, cells, strict=True)
            if cell is not None and name not in self._fields
        ]
        is_malformed = cells[-1] is not None
        if is_malformed and self._options.mode == "FAILFAST":
            raise PipelineError(f"Auto Loader, mode FAILFAST: malformed record: {line}")
        if is_malformed and self._options.mode == "DROPMALFORMED":
            return None
        if kept and "_file_path" in dict(kept):
            raise NeedsSparkError("A CSV column _file_path, which is rescued, is read by Spark alone")
        rescued = write_object([*kept, ("_file_path", write_string(file_path))]) if kept else None
        return (*values, rescued, line if is_malformed else None)


def split_lines(
    text: str,  # A file
    options: Options,  # Of the read
) -> list[str]:
    "Split a file into lines; skip the first `skipRows`, empty ones and comments."
    separator = "\r\n|\r|\n" if options.line_separator is None else re.escape(options.line_separator)
    lines = [line for line in re.split(separator, text)[options.skip_rows :] if line.strip(" ")]
    return [line for line in lines if not line.startswith(options.comment)] if options.comment else lines
