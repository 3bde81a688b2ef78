"""A SQL text and its tree, without Java: sqlglot parses it, and Sail says whether it takes it.

Neither knows all of Spark's SQL. What one of them refuses needs Spark, which may know it; nothing is guessed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cdc_local.engines.parsed import ParsedRelation
from cdc_local.errors import Location, NeedsSparkError, PipelineError, locate

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from sqlglot import ParseError, Token, exp

# First words of Spark's queries, and of its other statements (rule `statement` of its grammar)
_QUERY_WORDS = re.compile("FROM|MAP|REDUCE|SELECT|TABLE|VALUES|WITH", re.I)
_OTHER_WORDS = re.compile(
    "ADD|ALTER|ANALYZE|BEGIN|CACHE|CALL|CLEAR|COMMENT|COMMIT|CREATE|DECLARE|DELETE|DESC|DESCRIBE|DFS|DROP|EXECUTE|"
    "EXPLAIN|EXPORT|GRANT|IMPORT|INSERT|LIST|LOAD|LOCK|MERGE|MSCK|OPTIMIZE|REFRESH|REPAIR|REPLACE|RESET|REVOKE|"
    "ROLLBACK|SET|SHOW|START|TRUNCATE|UNCACHE|UNLOCK|UPDATE|USE|VACUUM",
    re.I,
)


@dataclass(frozen=True)
class ParsedText:
    "A statement as sqlglot has it."

    sql: str  # As written
    location: Location | None  # Where its first line stands
    tokens: "list[Token]"  # Its words
    options: dict[int, int]  # `WITH (…)` after a relation: index of its first word to that of its last
    tree: "exp.Expr"

    def needs_spark(
        self,
        reason: str,  # A sentence
        position: int = 0,  # In the text
    ) -> NeedsSparkError:
        "The error for what stands at a position."
        return NeedsSparkError(reason, locate(self.sql, position, self.location))


class _Place(NamedTuple):
    "A node of a tree, and what stands around it."

    node: "exp.Expr"
    names: frozenset[str]  # Common table expressions that it sees, in lower case
    streaming: bool = False  # Whether STREAM stands before it
    alias: str | None = None  # That of the brackets around it


@cache
def _dialect() -> tuple[Any, Any]:  # The dialect, and the class of its parser
    "sqlglot's SQL of Databricks, and what it lacks."
    from sqlglot import TokenType
    from sqlglot.dialects.databricks import Databricks
    from sqlglot.parsers.databricks import DatabricksParser

    class Parser(DatabricksParser):
        SUPPORTS_TABLE_QUERY = True

        def _parse_stream(self) -> Any:
            "Read `STREAM t`; `stream.t` is a table of a schema `stream`."
            return None if self._next.token_type == TokenType.DOT else super()._parse_stream()

    return Databricks(), Parser


def _tokenize(
    sql: str,  # One statement
    location: Location | None,  # Where its first line stands
) -> "list[Token]":  # Its words
    "Split a statement into words; `NeedsSparkError` for what ends nowhere, or nowhere else than in Spark."
    from sqlglot.errors import TokenError

    continued = re.search(r"--[^\n]*\\\n", sql)
    if continued:
        place = locate(sql, continued.start(), location)
        raise NeedsSparkError("a comment that goes on after a backslash is read by Spark alone", place)
    try:
        return list(_dialect()[0].tokenize(sql))
    except TokenError as error:
        raise NeedsSparkError(f"this SQL can't be read: {error}", location) from None


def is_kind(
    token: "Token",  # A word
    *kinds: str,  # Names of types of sqlglot's tokens
) -> bool:
    "Whether a word is of a kind; a quoted one is a name or a string."
    return token.token_type.name in kinds


def _find_options(
    tokens: "Sequence[Token]",  # Of a statement
) -> dict[int, int]:  # Index of WITH to that of the closing bracket
    "Find each `WITH (…)` of a relation; neither sqlglot nor Sail has it."
    found = {}
    for first in range(len(tokens) - 1):
        if is_kind(tokens[first], "WITH") and is_kind(tokens[first + 1], "L_PAREN"):
            found[first] = next(
                (n for n in range(first, len(tokens)) if is_kind(tokens[n], "R_PAREN")), first
            )
    return found


def _find_closing(
    tokens: "Sequence[Token]",  # Of a statement
    first: int,  # Index of a word before a bracket that holds no other
) -> int:  # Index of the closing bracket, of the word itself where there is none
    "Find where a list in brackets ends."
    return next((n for n in range(first, len(tokens)) if is_kind(tokens[n], "R_PAREN")), first)


def _parse(
    spark: "SparkSession",  # Of Sail, which says where a statement is wrong
    sql: str,  # One statement
    location: Location | None,  # Where its first line stands
    tokens: "list[Token]",  # Its words
) -> ParsedText:
    "Parse a statement; `NeedsSparkError` for what sqlglot doesn't know."
    from sqlglot.errors import ParseError

    dialect, parser = _dialect()
    bare = next((token for token in tokens if is_kind(token, "VAR") and not token.text.isascii()), None)
    if bare is not None:
        place = locate(sql, bare.start, location)
        raise NeedsSparkError(f"the name {bare.text} is not ASCII: Spark wants it in backticks", place)
    options = _find_options(tokens)
    left_out = {n for first, last in options.items() for n in range(first, last + 1)}
    words = [token for n, token in enumerate(tokens) if n not in left_out]
    try:
        trees = [tree for tree in parser(dialect=dialect).parse(words, sql) if tree is not None]
    except ParseError as error:
        streams = [n for n, token in enumerate(tokens) if is_kind(token, "STREAM")]
        unknown = blank_words(sql, tokens, options | {n: n for n in streams})
        raise ask_sail(spark, unknown, location) or _refusal(sql, location, error) from None
    return ParsedText(sql, location, tokens, options, trees[0])


def _refusal(
    sql: str,  # A statement
    location: Location | None,  # Where its first line stands
    error: "ParseError",  # What sqlglot says of it
) -> NeedsSparkError:
    "The error for what sqlglot doesn't know."
    wrong = error.errors[0]
    position = sum(len(before) + 1 for before in sql.split("\n")[: wrong["line"] - 1])
    reason = f"sqlglot can't read this SQL at or near {wrong['highlight']!r}"
    return NeedsSparkError(reason, locate(sql, position, location))


def blank_words(
    sql: str,  # A text
    tokens: "Sequence[Token]",  # Its words
    spans: dict[int, int],  # Index of a first word to that of the last
) -> str:  # As long as before
    "Put blanks where words stand that only this project knows."
    for first, last in spans.items():
        start, stop = tokens[first].start, tokens[last].end + 1
        sql = sql[:start] + re.sub(r"[^\n]", " ", sql[start:stop]) + sql[stop:]
    return sql


def ask_sail(
    spark: "SparkSession",  # Of Sail
    sql: str,  # A query
    location: Location | None,  # Where its first line stands
) -> NeedsSparkError | None:  # None where Sail takes it
    "Let Sail parse a query, which it does without looking for its tables."
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.plan import SQL

    client = cast(Any, spark).client  # a pipeline's `spark.sql` means its own tables
    try:
        client.execute_command(SQL(sql).command(client))
    except PySparkException as error:
        message = str(error)
    else:
        return None
    found = re.match(r"invalid argument: found (.*?) at (\d+):\d+ expected", message, re.S)
    if found is None:
        return NeedsSparkError(f"Sail can't read this SQL: {message.splitlines()[0][:120]}", location)
    position = len(sql.encode()[: int(found[2])].decode(errors="ignore"))
    return NeedsSparkError(
        f"Sail can't read this SQL at or near {found[1]!r}", locate(sql, position, location)
    )


def read_statement(
    spark: "SparkSession",  # Of Sail
    sql: str,  # One statement
    location: Location | None = None,  # Where its first line stands
) -> ParsedText | None:  # None for what is no query: a command, DDL, DML or a script
    "Parse a statement that only reads; `PipelineError` for one that begins as none does."
    from sqlglot import exp

    tokens = _tokenize(sql, location)
    first = next((token for token in tokens if not is_kind(token, "L_PAREN")), None)
    if first is None:
        raise PipelineError("Syntax error, unexpected empty statement.", location)
    if _OTHER_WORDS.fullmatch(first.text):
        return None
    if not _QUERY_WORDS.fullmatch(first.text):
        error = PipelineError if first.text.isidentifier() else NeedsSparkError
        raise error(f"Syntax error at or near {first.text!r}.", locate(sql, first.start, location))
    for before, after in pairwise(tokens):
        if is_kind(before, "SEMICOLON") and not is_kind(after, "SEMICOLON"):
            place = locate(sql, after.start, location)
            raise PipelineError(f"Syntax error at or near {after.text!r}: extra input {after.text!r}.", place)
    text = _parse(spark, sql, location, tokens)
    return text if isinstance(text.tree, exp.Query | exp.Values) else None


def read_places(
    text: ParsedText,  # A query
) -> "list[tuple[exp.Expr, ParsedRelation]]":  # Each node of the tree with what it reads
    "Find the relations of a query, and where they stand."
    return [(place.node, _locate_relation(text, place)) for place in _walk(text)]


def parse_expression(
    sql: str,  # An expression
) -> "exp.Expr | None":  # None where it is none, or more
    "Parse an expression that stands alone."
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    dialect, parser = _dialect()
    written = f"SELECT {sql}"
    try:
        trees = parser(dialect=dialect).parse(dialect.tokenize(written), written)
    except SqlglotError:
        return None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select) or len(trees[0].expressions) != 1:
        return None
    others = [name for name, value in trees[0].args.items() if value and name != "expressions"]
    return None if others else trees[0].expressions[0]


def find_left_out(
    text: ParsedText,  # A query
) -> dict[int, int]:  # Index of EXCEPT to that of its closing bracket
    "Find each `EXCEPT (…)` of a `*`, which Sail doesn't know."
    from sqlglot import exp

    tokens = text.tokens
    found = {
        n + 1: _find_closing(tokens, n + 1)
        for n in range(len(tokens) - 2)
        if is_kind(tokens[n], "STAR")
        and is_kind(tokens[n + 1], "EXCEPT")
        and is_kind(tokens[n + 2], "L_PAREN")
    }
    stars = [star for star in text.tree.find_all(exp.Star) if star.args.get("except_")]
    return found if len(found) == len(stars) else {}


def _walk(
    text: ParsedText,  # A query
) -> Iterator[_Place]:
    "Find the relations of a query that are no common table expressions."
    from sqlglot import exp

    left = [_Place(text.tree, frozenset())]
    while left:
        place = left.pop()
        node, names = place.node, place.names
        if isinstance(node, exp.Hint):
            continue
        if isinstance(node, exp.Select) and not node.expressions:
            raise text.needs_spark("a SELECT of nothing can't be read")
        common = node.args.get("with_")
        if isinstance(common, exp.With):
            defined = [definition.alias.lower() for definition in common.expressions]
            if len(set(defined)) < len(defined):
                raise text.needs_spark(f"one name for two common table expressions: {', '.join(defined)}")
            for definition in common.expressions:
                known = names | {definition.alias.lower()}
                left.append(_Place(definition.this, known if common.args.get("recursive") else names))
                names = known
        if _is_relation(node) and not (_is_plain(node) and node.name.lower() in names):
            yield place._replace(alias=_alias(place))
        left += [_enter(place, child, names) for child in node.iter_expressions() if child is not common]


def _enter(
    place: _Place,  # A node of the tree
    child: "exp.Expr",  # One of its own
    names: frozenset[str],  # Common table expressions that the child sees
) -> _Place:
    "Step from a node to a child; STREAM, brackets and their alias are those of what stands alone in them."
    from sqlglot import exp

    node = place.node
    wraps = isinstance(node, exp.Stream | exp.Subquery) and child is node.this
    if not wraps or child.args.get("joins"):
        return _Place(child, names)
    return _Place(child, names, place.streaming or isinstance(node, exp.Stream), _alias(place))


def _alias(
    place: _Place,  # A relation, or a bracket around one
) -> str | None:
    "The alias that a relation goes by."
    return None if place.node.args.get("pivots") else place.node.alias or place.alias


def _is_relation(
    node: "exp.Expr",  # Of a tree
) -> bool:  # A table, or a function where a table may stand
    "Whether a node names something to read."
    from sqlglot import exp

    if isinstance(node, exp.Lateral):
        return not node.args.get("view") and isinstance(node.this, exp.Func)
    return isinstance(node, exp.Table) and not isinstance(node.this, exp.Values)


def _is_plain(
    node: "exp.Expr",  # A relation
) -> bool:
    "Whether a relation is a name of one part."
    from sqlglot import exp

    return isinstance(node.this, exp.Identifier) and not node.args.get("db")


def _locate_relation(
    text: ParsedText,  # Has the words
    place: _Place,  # A relation of its tree
) -> ParsedRelation:
    "Find where a relation stands in the text."
    from sqlglot import exp

    node = place.node
    named = node.parts if isinstance(node, exp.Table) else [node.this]
    unread = node.args.get("version") or node.this.name.upper() == "IDENTIFIER"
    if unread or not all("start" in part.meta for part in named):
        raise text.needs_spark(f"the relation {node.sql('databricks')} can't be read")
    at = {token.start: n for n, token in enumerate(text.tokens)}
    indices = [at[part.meta["start"]] for part in named]
    parts = tuple(text.tokens[n].text for n in indices)
    first, last = min(indices), max(indices)
    if place.streaming:
        first = next((n for n in reversed(range(first)) if is_kind(text.tokens[n], "STREAM")), first)
    elif is_kind(text.tokens[first], "STREAM") and text.tokens[last + 1 : last + 2]:
        _refuse_ambiguous_stream(text, first)
    is_function = isinstance(node.this, exp.Func)
    options = _options_after(text, last) if not is_function else {}
    return ParsedRelation(text.tokens[first].start, parts, is_function, place.streaming, place.alias, options)


def _refuse_ambiguous_stream(
    text: ParsedText,  # Has the words
    at: int,  # Index of `stream` where it is a table's name
) -> None:
    "Leave to Spark what follows `stream` as a word: to Spark `FROM stream JOIN t` is a stream of `JOIN`."
    after = text.tokens[at + 1]
    if after.text.isidentifier():
        raise text.needs_spark(f"`stream {after.text}` can't be read", text.tokens[at].start)


def _options_after(
    text: ParsedText,  # Has the words
    last: int,  # Index of the last word of a name
) -> dict[str, str]:  # Keys in lower case
    "Read the `WITH (…)` that follows a name, or the bracket around it."
    first = last + 1
    while first < len(text.tokens) and is_kind(text.tokens[first], "R_PAREN"):
        first += 1
    found = {}
    inside = text.tokens[first + 2 : text.options.get(first, first)]
    for is_comma, group in groupby(inside, lambda token: is_kind(token, "COMMA")):
        words = [token for token in group if not is_kind(token, "EQ")]
        if is_comma:
            continue
        if [word.text.upper() for word in words] == ["SKIPCHANGECOMMITS"]:
            found["skipchangecommits"] = "true"
        elif len(words) > 1:
            found["".join(word.text for word in words[:-1]).lower()] = words[-1].text
        else:
            raise text.needs_spark(f"the option {words[0].text!r} has no value", words[0].start)
    return found
