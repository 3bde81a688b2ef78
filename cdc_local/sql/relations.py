"""What a SQL text reads, found by its engine's parser, and the same text reading something else instead."""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import SparkSession

from cdc_local.autoloader.file_formats import DATABRICKS_ONLY, FORMATS
from cdc_local.engines.parsed import ParsedRelation
from cdc_local.engines.sql_parser import parser_of
from cdc_local.errors import Location, NeedsSparkError, PipelineError, locate
from cdc_local.sql.lexer import Token, closing_bracket, split_at_commas, tokenize
from cdc_local.sql_names import quote_for_spark


@dataclass(frozen=True)
class Relation:
    "Something a query reads."

    name: str | None = (
        None  # Table or view; backticks only around a part that needs them; `None` for a function
    )
    # 'read_files', 'cloud_files' …, in lower case; a format for json.`/path`; `None` for a name
    function: str | None = None
    # The function's, values as text; the first is 'path'
    arguments: dict[str, str] = field(default_factory=dict, hash=False)
    streaming: bool = False  # Written with STREAM, or `cloud_files`
    start: int = 0  # Where it stands in the text …
    stop: int = 0  # … and the position after it, without its alias
    alias: str | None = None  # Its alias, if it has one
    parts: tuple[str, ...] = ()  # The parts of `name`
    options: dict[str, str] = field(default_factory=dict, hash=False)  # Of `WITH (…)`, as skipChangeCommits


def relation_extent(
    words: list[Token],  # The text's tokens
    first: int,  # Index of the relation's first token
    streaming: bool,  # Whether STREAM is a keyword there, and not a table's name
) -> tuple[int, int]:  # Index after the relation, and after its TABLESAMPLE or WATERMARK too
    "How far a relation reaches, without its alias."

    def at(index: int, *says: str) -> bool:
        return index < len(words) and words[index].says(*says)

    index = first
    stream = streaming and at(index, "STREAM")
    index += stream
    bracket = stream and at(index, "(")
    index += bracket
    while at(index + 1, "."):
        index += 2
    index = (
        closing_bracket(words, index + 1) + 1
        if at(index + 1, "(") and not at(index, "WITH", "TABLESAMPLE")
        else index + 1
    )
    index += bracket
    if at(index, "WITH") and at(index + 1, "("):
        index = closing_bracket(words, index + 1) + 1
    after = index
    if at(after, "TABLESAMPLE"):
        after = closing_bracket(words, after + 1) + 1
    if at(after, "REPEATABLE"):
        after = closing_bracket(words, after + 1) + 1
    if at(after, "WATERMARK"):
        after = next((n for n in range(after, len(words)) if at(n, "INTERVAL")), after) + 3
    return index, after


def constant_value(
    spark: SparkSession,  # The session
    text: str,  # A constant expression
    location: Location | None = None,  # Where it stands
) -> str | None:  # Its value as text, a map as JSON; `None` for NULL
    "Compute a constant argument."
    literal = re.fullmatch(r"'([^'\\]*)'|\"([^\"\\]*)\"|(\w[\w.]*)", text.strip())
    if literal and literal[3] and re.fullmatch(r"\d+|true|false", literal[3], re.I):
        return literal[3].lower()
    if literal and literal[3] is None:
        return literal[1] if literal[1] is not None else literal[2]
    shown = f"to_json({text})" if re.match(r"\s*map\s*\(", text, re.I) else f"CAST(({text}) AS STRING)"
    try:
        return parser_of(spark).compute_text(spark, shown)
    except NeedsSparkError:
        raise
    except Exception as error:
        raise PipelineError(
            f"{text.strip()!r} is no constant: {str(error).strip().splitlines()[0][:120]}", location
        ) from None


# Names of the arguments that a table function has in order; of others, the first is a path
_PLACES = {
    "cloud_files": ("path", "format", "options"),
    "event_log": ("pipeline",),
    "table_changes": ("table", "start", "end"),
}


def call_arguments(
    spark: SparkSession,  # The session
    function: str,  # Function name in lower case
    sql: str,  # The text
    words: list[Token],  # Tokens between the call's brackets
    location: Location | None = None,  # Where the call stands
) -> dict[str, str]:  # Argument name to value
    """Read arguments: named ones by name, others by their place, a map's by key, `TABLE(t)` as 'table'."""
    values: dict[str, Any] = {}
    places = iter(_PLACES.get(function, ("path",)))
    if words and words[0].says("TABLE"):
        inner = words[1:] if not words[1].says("(") else words[2 : closing_bracket(words, 1)]
        return {"table": sql[inner[0].start : inner[-1].stop]}
    for group in filter(None, split_at_commas(words)):
        named = len(group) > 3 and group[1].says("=") and group[2].says(">")
        key = group[0].text.strip("`") if named else next(places, f"argument {len(values) + 1}")
        value = constant_value(spark, sql[group[3 if named else 0].start : group[-1].stop], location)
        values |= json.loads(value) if value and not named and group[0].says("MAP") else {key: value}
    return values


# Formats that may stand before a path, as json.`/data`: those of Auto Loader, and Delta's tables
_PATH_FORMATS = frozenset([*FORMATS, *DATABRICKS_ONLY, "delta"])

# Table functions that only Databricks has, and what they do there
_AS_FILES = "; here, write the messages to files and stream those: STREAM read_files('/Volumes/…')"
DATABRICKS_FUNCTIONS = {
    "read_kafka": "it streams topics of a Kafka broker" + _AS_FILES,
    "read_kinesis": "it streams records of Amazon Kinesis" + _AS_FILES,
    "read_pubsub": "it streams a subscription of Google Pub/Sub" + _AS_FILES,
    "read_pulsar": "it streams topics of Apache Pulsar" + _AS_FILES,
    "cloud_files_state": "it lists the files that an Auto Loader stream has seen",
    "read_statestore": "it reads the state that a stream keeps",
    "read_state_metadata": "it tells of the state that a stream keeps",
    "remote_query": "it runs a query on another database",
    "list_secrets": "it lists the secrets of the workspace",
    "vector_search": "it asks a vector index of the workspace",
    "ai_forecast": "it asks a model of the workspace",
    "ai_top_drivers": "it asks a model of the workspace",
}


def build_relation(
    spark: SparkSession,  # The session
    sql: str,  # The text
    words: list[Token],  # Its tokens
    found: ParsedRelation,
    location: Location | None = None,  # Where the text's first line stands
) -> Relation | None:  # `None` for a function of Spark's own
    "Make a `Relation` of what a parser found."
    first = next((n for n, word in enumerate(words) if word.start >= found.start), None)
    if first is None:
        raise PipelineError(f"{'.'.join(found.parts)} can't be found in this SQL", location)
    last = relation_extent(words, first, found.streaming)[0] - 1
    base = Relation(
        streaming=found.streaming, start=words[first].start, stop=words[last].stop, alias=found.alias
    )
    parts = found.parts
    if not found.is_function:
        if len(parts) == 2 and parts[0].lower() in _PATH_FORMATS and re.search("[/:]", parts[1]):
            return replace(base, function=parts[0].lower(), arguments={"path": parts[1]})
        name = ".".join(part if re.fullmatch(r"\w+", part) else f"`{part}`" for part in parts)
        return replace(base, name=name, parts=parts, options=found.options)
    function, place = ".".join(parts).lower(), locate(sql, base.start, location)
    if function in DATABRICKS_FUNCTIONS:
        message = f"the table function {function} is not supported by the local runner"
        raise PipelineError(message, place, f"on Databricks {DATABRICKS_FUNCTIONS[function]}")
    is_own = function in _PLACES  # Delta has a `table_changes` of its own, which looks in Spark's catalog
    if not is_own and not found.streaming and parser_of(spark).is_table_function(spark, function):
        return None
    brackets = (n for n in range(first, last + 1) if words[n].says("(") and not words[n - 1].says("STREAM"))
    opening = next(brackets, last)
    inside = words[opening + 1 : closing_bracket(words, opening)]
    arguments = call_arguments(spark, function, sql, inside, place)
    streaming = found.streaming or function == "cloud_files"
    return replace(base, function=function, arguments=arguments, streaming=streaming)


def find_relations(
    spark: SparkSession,  # The session
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands, for messages
) -> list[Relation]:  # What it reads, in the order of the text
    "Find what a statement reads; `PipelineError` if it can't be parsed."
    parsed = parser_of(spark).parse_relations(spark, sql, location)
    words = tokenize(sql, location)
    built = [build_relation(spark, sql, words, found, location) for found in parsed]
    by_start = {relation.start: relation for relation in built if relation}
    found: list[Relation] = []
    for _, relation in sorted(by_start.items()):
        if not found or relation.start >= found[-1].stop:  # else an argument, as t of `event_log(TABLE(t))`
            found.append(relation)
    return found


def qualified_references(
    words: list[Token],  # The text's tokens
    relation: Relation,  # A relation of several parts without alias
    taken: list[tuple[int, int]],  # (start, stop) of the relations
) -> list[tuple[int, int]]:  # (start, stop) of `schema.` in `schema.customers.id`
    "Find columns that are written with the relation's whole name."
    size, edits = 2 * len(relation.parts), []
    wanted = [part.lower() for part in relation.parts]
    for index in range(len(words) - size):
        named = [word.text.strip("`").lower() for word in words[index : index + size : 2]]
        dots = all(word.says(".") for word in words[index + 1 : index + size : 2])
        inside = any(start <= words[index].start < stop for start, stop in taken)
        elsewhere = index and words[index - 1].says(
            ".", "FROM", "JOIN", "STREAM", "TABLE"
        )  # another relation, or a longer name
        if named == wanted and dots and not inside and not elsewhere:
            edits.append((words[index].start, words[index + size - 2].start))
    return edits


def substitute_relations(
    sql: str,  # One statement
    replacements: dict[Relation, str],  # Relation, as `relations` found it, to the view to read instead
) -> str:  # The statement, reading the views
    "Let a statement read temporary views; everything else stays as it is."
    words = tokenize(sql)
    edits, taken = [], [(relation.start, relation.stop) for relation in replacements]
    for relation, view in replacements.items():
        first = [word.start for word in words].index(relation.start)
        edits.append((relation.start, relation.stop, view))
        before = [word for word in words[:first] if not word.says("(")]
        if relation.alias or (before and before[-1].says("TABLE")):
            continue  # `TABLE t` takes no alias
        end = words[relation_extent(words, first, relation.streaming)[1] - 1].stop
        name = relation.parts[-1] if relation.parts else relation.function or ""
        edits.append((end, end, f" AS {quote_for_spark(name)}"))
        if len(relation.parts) > 1:
            edits += [(start, stop, "") for start, stop in qualified_references(words, relation, taken)]
    for start, stop, text in sorted(set(edits), key=lambda edit: edit[:2], reverse=True):
        sql = sql[:start] + text + sql[stop:]
    return sql
