"""A SQL query as a frame: the plan that its clauses mean, in which everything can be seen.

To Spark Connect a SQL text is one node, and what it reads, computes and keeps is hidden in it. Here the
clauses of a query become the nodes of a plan, and only expressions stay text. Each text is a piece of the
query as written, and is taken only where sqlglot reads it as the part of the tree that it stands for.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect import functions as F

from cdc_local.engines.known.sql_text import find_functions
from cdc_local.engines.known.state import aggregates
from cdc_local.engines.sail.sql_text import ParsedText, is_kind, parse_expression, read_places
from cdc_local.sql_names import quote_for_spark

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from sqlglot import exp

# Words that end one relation of a FROM and begin the next
_JOIN_WORDS = frozenset(
    {"COMMA", "JOIN", "LEFT", "RIGHT", "FULL", "INNER", "OUTER", "CROSS", "SEMI", "ANTI", "NATURAL"}
)
_CLAUSES = ("SELECT", "FROM", "WHERE", "GROUP_BY", "LIMIT")
_SELECT_PARTS = frozenset({"expressions", "from_", "joins", "where", "group", "distinct", "limit", "with_"})
_JOINS = {
    ("", ""): "inner",
    ("", "INNER"): "inner",
    ("LEFT", ""): "left",
    ("LEFT", "OUTER"): "left",
    ("RIGHT", ""): "right",
    ("RIGHT", "OUTER"): "right",
    ("FULL", ""): "full",
    ("FULL", "OUTER"): "full",
    ("LEFT", "SEMI"): "leftsemi",
    ("LEFT", "ANTI"): "leftanti",
    ("", "CROSS"): "cross",
}


class _UnreadError(Exception):
    "A query that is more than its plan here can say."


def plan_query(
    text: ParsedText,  # A query
    frames: "Mapping[int, DataFrame]",  # What each relation means, by where it stands
) -> "DataFrame | None":  # Its rows; None for a query that stays a text
    "Build the plan of a query, clause by clause."
    try:
        return _Builder(text, frames).query(text.tree, range(len(text.tokens)), {})
    except _UnreadError:
        return None


def _expect(
    holds: Any,  # What must be true of a query that is read
) -> None:
    "Leave a query a text where a condition doesn't hold."
    if not holds:
        raise _UnreadError


def _given(
    node: "exp.Expr",  # Of a tree
) -> set[str]:  # `expressions`, `where` …
    "Name the parts that a node has."
    return {name for name, value in node.args.items() if value not in (None, False, [])}


class _Builder:
    "Reads the words of a query beside its tree."

    def __init__(self, text: ParsedText, frames: "Mapping[int, DataFrame]") -> None:
        self.text, self.frames = text, frames
        self.places = {id(node): relation for node, relation in read_places(text)}

    def query(
        self,
        node: "exp.Expr",  # A query
        words: range,  # Indices of its words
        common: "Mapping[str, DataFrame]",  # Common table expressions that it sees
    ) -> "DataFrame":
        "The rows of a query, in brackets or not, with its WITH."
        from sqlglot import exp

        while words and is_kind(self.text.tokens[words[-1]], "SEMICOLON"):
            words = words[:-1]
        if isinstance(node, exp.Subquery):
            _expect(_given(node) == {"this"} and self._closing(words[0]) == words[-1])
            return self.query(node.this, words[1:-1], common)
        if node.args.get("with_"):
            common, words = self.with_clause(node.args["with_"], words, common)
        if isinstance(node, exp.Union):
            return self.union(node, words, common)
        _expect(isinstance(node, exp.Select))
        return self.select(node, words, common)

    def with_clause(
        self, node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]"
    ) -> "tuple[Mapping[str, DataFrame], range]":
        "What a WITH defines, and the words after it."
        _expect(_given(node) == {"expressions"} and is_kind(self.text.tokens[words[0]], "WITH"))
        for definition in node.expressions:
            opening = next((n for n in words if is_kind(self.text.tokens[n], "L_PAREN")), -1)
            _expect(opening >= 0 and not definition.args["alias"].columns)
            closing = self._closing(opening)
            frame = self.query(definition.this, range(opening + 1, closing), common)
            common = {**common, definition.alias.lower(): frame}
            words = range(closing + 1, words.stop)
        return common, words

    def union(self, node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]") -> "DataFrame":
        "UNION and UNION ALL."
        _expect(_given(node) <= {"this", "expression", "distinct", "with_"})
        at = max(
            (n for n in self._outside_brackets(words) if is_kind(self.text.tokens[n], "UNION")), default=-1
        )
        _expect(at >= 0)
        right = at + 1 + is_kind(self.text.tokens[at + 1], "ALL", "DISTINCT")
        left_rows = self.query(node.this, range(words.start, at), common)
        both = left_rows.union(self.query(node.expression, range(right, words.stop), common))
        return both.distinct() if node.args.get("distinct") else both

    def select(self, node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]") -> "DataFrame":
        "A SELECT with FROM, and WHERE, GROUP BY, DISTINCT, LIMIT where it has them."
        _expect(
            _given(node) <= {"expressions", "from_", "joins", "where", "group", "distinct", "limit", "with_"}
        )
        clauses = self.clauses(words)
        _expect(node.args.get("from_") and "SELECT" in clauses and "FROM" in clauses)
        frame = self.source(node, clauses["FROM"], common)
        if node.args.get("where"):
            frame = frame.where(self.expression(node.args["where"].this, clauses["WHERE"]))
        items = self.items(node, clauses["SELECT"])
        frame = self.project(node, frame, items, clauses)
        if node.args.get("distinct"):
            _expect(not node.args["distinct"].args.get("on"))
            frame = frame.distinct()
        if limit := node.args.get("limit"):
            _expect(limit.expression.is_int and len(clauses["LIMIT"]) == 1)
            frame = frame.limit(int(limit.expression.this))
        return frame

    def clauses(self, words: range) -> dict[str, range]:
        "Where each clause stands, without its own words."
        tokens = self.text.tokens
        outside = (n for n in self._outside_brackets(words) if not is_kind(tokens[n - 1], "DOT"))
        starts = [n for n in outside if is_kind(tokens[n], *_CLAUSES)]
        kinds = [tokens[n].token_type.name for n in starts]
        _expect(len(set(kinds)) == len(kinds) and starts[:1] == [words.start])
        stops = [*starts[1:], words.stop]
        return {kind: range(start + 1, stop) for kind, start, stop in zip(kinds, starts, stops, strict=True)}

    def items(self, node: "exp.Expr", words: range) -> "list[tuple[exp.Expr, range]]":
        "The items of a SELECT, each with its words."
        if node.args.get("distinct"):
            words = words[1:]
        found = list(self._split_at_commas(words))
        _expect(len(found) == len(node.expressions))
        return list(zip(node.expressions, found, strict=True))

    def project(
        self,
        node: "exp.Expr",  # A SELECT
        frame: "DataFrame",  # What it reads
        items: "list[tuple[exp.Expr, range]]",
        clauses: dict[str, range],
    ) -> "DataFrame":
        "The rows that the items of a SELECT make of those it reads."
        if not node.args.get("group") and not any(self._aggregates(*item) for item in items):
            return frame.select(*[column for item in items for column in self.columns(frame, *item)])
        keys: list[tuple[exp.Expr, str]] = []
        if group := node.args.get("group"):
            _expect(_given(group) == {"expressions"})
            pieces = list(self._split_at_commas(clauses["GROUP_BY"]))
            _expect(len(pieces) == len(group.expressions))
            keys = [
                (key, self.name(key, piece)) for key, piece in zip(group.expressions, pieces, strict=True)
            ]
        made, shown = [], []
        for number, (item, words) in enumerate(items):
            body, body_words = self._body(item, words)
            alias = item.alias_or_name
            key = next((key for key, _ in keys if key == body), None)
            _expect(alias and (key is not None or item is not body))
            if key is not None:
                shown.append(F.col(quote_for_spark(key.name)).alias(alias))
                continue
            made.append(self.expression(body, body_words).alias(f"__item_{number}"))
            shown.append(F.col(f"__item_{number}").alias(alias))
        names = [key.name.lower() for key, _ in keys]
        _expect(made and len(set(names)) == len(names))
        return frame.groupBy(*[F.col(name) for _, name in keys]).agg(*made).select(*shown)

    def columns(self, frame: "DataFrame", item: "exp.Expr", words: range) -> "Iterator[Column]":
        "The columns that an item of a SELECT without groups stands for."
        from sqlglot import exp

        if isinstance(item, exp.Star):
            yield from self.star(frame, item, "")
        elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            _expect(_given(item) == {"this", "table"})
            yield from self.star(frame, item.this, quote_for_spark(item.table) + ".")
        elif isinstance(item, exp.Column):
            yield F.col(self.name(item, words))
        else:
            body, body_words = self._body(item, words)
            made = self.expression(body, body_words)
            yield made if item is body else made.alias(item.alias)

    def star(
        self,
        frame: "DataFrame",  # What the SELECT reads
        node: "exp.Expr",  # `*`, with its EXCEPT
        table: str,  # What stands before it, as `t.`
    ) -> "Iterator[Column]":
        "The columns of a `*`: by name where some are left out, as Sail knows no EXCEPT."
        from sqlglot import exp

        _expect(_given(node) <= {"except_"})
        left_out = node.args.get("except_") or []
        if not left_out:
            yield F.col(f"{table}*")
            return
        _expect(all(isinstance(column, exp.Column) and _given(column) == {"this"} for column in left_out))
        wanted = {column.name.lower() for column in left_out}
        columns = frame.select(F.col(f"{table}*")).columns
        names = {name.lower(): name for name in columns}
        _expect(len(names) == len(columns) and wanted <= {*names, "_metadata"})
        yield from (F.col(table + quote_for_spark(name)) for key, name in names.items() if key not in wanted)

    def source(self, node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]") -> "DataFrame":
        "What a FROM reads, joined."
        segments = list(self._segments(words))
        joins = node.args.get("joins") or []
        _expect(len(segments) == 1 + len(joins))
        frame = self.relation(node.args["from_"].this, segments[0], common)
        for join, segment in zip(joins, segments[1:], strict=True):
            frame = self.join(frame, join, segment, common)
        return frame

    def join(
        self, left: "DataFrame", node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]"
    ) -> "DataFrame":
        "A join with what its words name."
        _expect(_given(node) <= {"this", "side", "kind", "on", "using"})
        outside = self._outside_brackets(words)
        at = next((n for n in outside if is_kind(self.text.tokens[n], "ON", "USING")), words.stop)
        right = self.relation(node.this, range(words.start, at), common)
        how = _JOINS.get((str(node.args.get("side") or "").upper(), str(node.args.get("kind") or "").upper()))
        _expect(how is not None and (how == "cross") == (at == words.stop))
        if how == "cross":
            return left.crossJoin(right)
        if using := node.args.get("using"):
            return left.join(right, [name.name for name in using], how)
        return left.join(right, self.expression(node.args["on"], range(at + 1, words.stop)), how)

    def relation(self, node: "exp.Expr", words: range, common: "Mapping[str, DataFrame]") -> "DataFrame":
        "A relation of a FROM, by its alias or its own last name."
        from sqlglot import exp

        alias = node.args.get("alias")
        _expect(not (alias and alias.args.get("columns")))
        if place := self.places.get(id(node)):
            _expect(_given(node) <= {"this", "db", "catalog", "alias"} and place.start in self.frames)
            return self.frames[place.start].alias(place.alias or place.parts[-1])
        if isinstance(node, exp.Table):
            _expect(_given(node) <= {"this", "alias"} and node.name.lower() in common)
            return common[node.name.lower()].alias(node.alias or node.name)
        if isinstance(node, exp.Stream) or not isinstance(node.this, exp.Query):
            _expect(isinstance(node, exp.Stream | exp.Subquery) and _given(node) <= {"this", "alias"})
            return self.relation(node.this, words, common)
        _expect(isinstance(node, exp.Subquery) and _given(node) <= {"this", "alias"})
        frame = self.query(node.this, range(words.start + 1, self._closing(words.start)), common)
        return frame.alias(node.alias) if node.alias else frame

    def expression(self, node: "exp.Expr", words: range) -> "Column":
        "An expression as it is written."
        from sqlglot import exp

        written = self._written(words)
        _expect(parse_expression(written) == node and not node.find(exp.Query))
        self._check_columns(node)
        return F.expr(written)

    def name(self, node: "exp.Expr", words: range) -> str:
        "The name of a column as it is written."
        from sqlglot import exp

        written = self._written(words)
        _expect(isinstance(node, exp.Column) and parse_expression(written) == node)
        self._check_columns(node)
        return written

    def _check_columns(self, node: "exp.Expr") -> None:
        "Leave alone what may be written with a schema: `schema.table.column`."
        from sqlglot import exp

        schemas = {place.parts[0].lower() for place in self.places.values() if len(place.parts) > 1}
        _expect(
            not any(
                column.db and column.parts[0].name.lower() in schemas for column in node.find_all(exp.Column)
            )
        )

    def _body(self, item: "exp.Expr", words: range) -> "tuple[exp.Expr, range]":
        "An item of a SELECT without its alias."
        from sqlglot import exp

        if not isinstance(item, exp.Alias):
            return item, words
        words = words[:-1]
        return item.this, words[:-1] if is_kind(self.text.tokens[words[-1]], "ALIAS") else words

    def _aggregates(self, item: "exp.Expr", words: range) -> bool:
        "Whether an item makes one value of many rows."
        from sqlglot import exp

        if isinstance(item, exp.Star | exp.Column):
            return False
        found = find_functions(self._written(self._body(item, words)[1]))
        if found is None:
            raise _UnreadError
        return bool(found & aggregates()) and "over" not in found

    def _written(self, words: range) -> str:
        "What stands between two words, with them."
        _expect(len(words))
        return self.text.sql[self.text.tokens[words[0]].start : self.text.tokens[words[-1]].end + 1]

    def _outside_brackets(self, words: range) -> Iterator[int]:
        "The words that no bracket among them holds."
        depth = 0
        for n in words:
            token = self.text.tokens[n]
            depth -= is_kind(token, "R_PAREN", "R_BRACKET")
            if depth == 0:
                yield n
            depth += is_kind(token, "L_PAREN", "L_BRACKET")

    def _split_at_commas(self, words: range) -> Iterator[range]:
        "Pieces between commas outside of brackets."
        start = words.start
        for n in self._outside_brackets(words):
            if is_kind(self.text.tokens[n], "COMMA"):
                yield range(start, n)
                start = n + 1
        yield range(start, words.stop)

    def _segments(self, words: range) -> Iterator[range]:
        "Pieces of a FROM between the words of joins."
        start = words.start
        for n in self._outside_brackets(words):
            if is_kind(self.text.tokens[n], *_JOIN_WORDS):
                if n > start:
                    yield range(start, n)
                start = n + 1
        yield range(start, words.stop)

    def _closing(self, opening: int) -> int:
        "The bracket that closes one."
        depth = 0
        for n in range(opening, len(self.text.tokens)):
            depth += is_kind(self.text.tokens[n], "L_PAREN") - is_kind(self.text.tokens[n], "R_PAREN")
            if depth == 0:
                return n
        raise _UnreadError
