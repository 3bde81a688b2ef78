"""Where a word stands, by line and column: in a file, or in a text of Python's."""

from dataclasses import dataclass

from cdc_local.errors import Location, PipelineError


@dataclass(frozen=True)
class Position(Location):
    """A line and column of a source file; prints as `file:line:column`."""

    column: int = 1  # Counted from 1

    def __str__(self) -> str:
        return f"{super().__str__()}:{self.column}"


def find_position(
    sql: str,  # A text
    start: int,  # A position in it
    origin: Location | None,  # Where its first line stands, a `Position` where its first character does
) -> Position | None:  # None for a text of no file
    "Find the line and column of a position in a text."
    if origin is None:
        return None
    line, column = _line_and_column(sql, start)
    if line == 1 and isinstance(origin, Position):
        column += origin.column - 1
    return Position(origin.file, (origin.line or 1) + line - 1, (column - 1, column), column)


def refuse_at(
    sql: str,  # A text
    start: int,  # Where the wrong part begins
    origin: Location | None,  # Where its first line stands
    message: str,  # What is wrong
    hint: str,  # What to write instead
) -> PipelineError:
    "The error for a part of a text: at its line and column in a file, or in the text where it has no file."
    place = find_position(sql, start, origin)
    if place is not None:
        return PipelineError(message, place, hint)
    line, column = _line_and_column(sql, start)
    where = f"line {line}, column {column}" if "\n" in sql else f"column {column}"
    return PipelineError(f"{message} ({where} of the text)", hint=hint)


def _line_and_column(sql: str, start: int) -> tuple[int, int]:
    return sql.count("\n", 0, start) + 1, start - sql.rfind("\n", 0, start)
