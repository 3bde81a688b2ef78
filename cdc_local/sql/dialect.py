"""Databricks' SQL as Spark reads it: the one place through which every text goes before an engine sees it.

A text that uses nothing special is given back as it is, byte for byte. What can be said exactly in Spark's
SQL is put in its place, and nothing else of the text is touched; the rest is refused by name, with what to
write instead. `constructs.py` has the list, `json_paths.py` the paths into JSON."""

import re
from collections.abc import Sequence

from pyspark.sql import SparkSession

from cdc_local.engines.engine import is_sail
from cdc_local.errors import Location, NeedsSparkError
from cdc_local.sql.constructs import find_construct, find_function
from cdc_local.sql.json_paths import find_json_paths, skip_type, start_of_operand
from cdc_local.sql.lexer import Token, closing_bracket, lex
from cdc_local.sql.parser import Statement, spanned_text
from cdc_local.sql.positions import find_position, refuse_at

# Words before a name with a bracket that is no call: `WITH ai_answers (a) AS`, `FROM t AS st_x (a)`
_BEFORE_NAMES = (".", "WITH", "AS", "TABLE", "VIEW", "INTO", "FUNCTION", "RECURSIVE")

Edit = tuple[int, int, str]  # Start and end in the text, and what stands there instead


def translate(
    sql: str,  # A query, or an expression
    origin: Location
    | None = None,  # Where its first line stands, a `Position` where its first character does
) -> str:  # The same for Spark; paths into JSON stay, since the types decide what they are
    "Put Spark's functions where Databricks' stand; `PipelineError` for what Spark has no word for."
    words = [word for word in lex(sql) if word.kind != "comment"]
    _refuse_versions(sql, words, origin)
    edits = [*_rename_functions(sql, words, origin), *_write_casts(sql, words)]
    for start, stop, text in sorted(edits, reverse=True):
        sql = sql[:start] + text + sql[stop:]
    return sql


def translate_words(
    statement: Statement,  # Has the text
    words: list[Token],  # Consecutive words of it, an expression
) -> str:  # What they span, for Spark
    "Translate an expression of a statement."
    text = spanned_text(statement, words)
    return translate(text, find_position(statement.sql, words[0].start, statement.origin))


def leave_paths_to_spark(
    spark: SparkSession,  # The session
    sql: str,  # A query, or an expression
    origin: Location | None = None,  # Where its first line stands
) -> None:
    "Say on Sail that a path into JSON needs Spark: `NeedsSparkError`."
    paths = find_json_paths(sql) if is_sail(spark) else []
    if paths:
        shown = sql[paths[0].start : paths[0].stop]
        place = find_position(sql, paths[0].start, origin)
        raise NeedsSparkError(f"{shown} is a path into JSON, which Spark alone follows", place)


def _rename_functions(sql: str, words: Sequence[Token], origin: Location | None) -> list[Edit]:
    "Rename the calls that Spark has by another name; refuse those that it does not have."
    edits = []
    for at, word in enumerate(words[:-1]):
        construct = find_function(word.text.lower()) if word.kind == "word" else None
        if construct is None or not _is_call(words, at):
            continue
        if not construct.becomes:
            message = f"{word.text} {construct.reason}"
            raise refuse_at(sql, word.start, origin, message, construct.instead)
        edits.append((word.start, word.stop, construct.becomes))
    return edits


def _refuse_versions(sql: str, words: Sequence[Token], origin: Location | None) -> None:
    "Refuse `orders@v1` and `orders@20260101000000000`, a version of a table."
    for table, sign, version in zip(words, words[1:], words[2:], strict=False):
        if sign.says("@") and sign.start == table.stop and re.fullmatch(r"v?\d+", version.text):
            construct = find_construct("table@v1")
            message = f"{table.text}@{version.text} {construct.reason}"
            raise refuse_at(sql, table.start, origin, message, construct.instead)


def _is_call(words: Sequence[Token], at: int) -> bool:
    "Whether a word is the name of a function of Databricks' own, with its bracket."
    if not words[at + 1].says("(") or (at and words[at - 1].says(*_BEFORE_NAMES)):
        return False
    after = words[closing_bracket(list(words), at + 1) + 1 :][:2]
    is_common_table = len(after) == 2 and after[0].says("AS") and after[1].says("(")
    return not is_common_table


def _write_casts(sql: str, words: Sequence[Token]) -> list[Edit]:
    "Write `value?::type` as `try_cast(value AS type)`."
    edits: list[Edit] = []
    for at in range(1, len(words) - 3):
        if "".join(word.text for word in words[at : at + 3]) != "?::":
            continue
        first = start_of_operand(words, at - 1)
        if first is not None:
            last = skip_type(words, at + 3)
            edits += [
                (words[first].start, words[first].start, "try_cast("),
                (words[at].start, words[at + 2].stop, " AS "),
                (words[last].stop, words[last].stop, ")"),
            ]
    return edits
