"""SQL text as words: strings, names, comments, brackets. The one place that knows where each begins and ends.

The rules are those of Spark's own lexer (`SqlBaseLexer.g4`): comments in `/* */` nest, two quotes inside a
string are one, a backslash escapes a character of a string but not of a name in backticks."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from cdc_local.errors import Location, PipelineError, locate

QUERY_STARTS = ("SELECT", "WITH", "VALUES", "FROM", "TABLE", "(")  # How a query begins


class Token(NamedTuple):
    "A word of SQL."

    kind: str  # 'string', 'name' (in backticks), 'word', 'number', 'sign', 'comment' or 'unclosed'
    text: str  # As written
    start: int  # Position of its first character
    stop: int  # Position after its last

    def says(self, *words: str) -> bool:
        "Whether this is one of the (upper-case) words or signs, unquoted."
        return self.kind in ("word", "sign") and self.text.upper() in words


_TOKEN = re.compile(
    r"""\s+|(?P<comment>--(?:\\\n|[^\n])*)|(?P<bracketed>/\*)
  |(?P<string>[rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
  |(?P<name>`(?:[^`]|``)*`)|(?P<word>[^\W\d]\w*)|(?P<number>\d\w*(?:\.\d\w*)?)|(?P<sign>.)""",
    re.S | re.X,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_UNCLOSED = {"'": "string", '"': "string", "`": "name in backticks", "/": "comment"}


def _end_of_comment(sql: str, start: int) -> int | None:
    "Where the comment ends that begins at `start` with `/*`; comments nest. None where it never ends."
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return None


def lex(
    sql: str,  # SQL text
) -> Iterator[
    Token
]:  # Its words and comments in order, without space; one that never ends is last, 'unclosed'
    "Split SQL into words and comments; refuses nothing."
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None  # any character is a sign
        kind, stop = match.lastgroup, match.end()
        if kind == "bracketed":
            end = _end_of_comment(sql, position)
            kind, stop = ("unclosed", len(sql)) if end is None else ("comment", end)
        elif match[0] in ("'", '"', "`"):
            kind, stop = "unclosed", len(sql)
        if kind is not None:
            yield Token(kind, sql[position:stop], position, stop)
        position = stop


def tokenize(
    sql: str,  # SQL text
    location: Location | None = None,  # Where its first line stands, for the message
) -> list[Token]:  # Its words in order, without space and comments
    "Split SQL into words; `PipelineError` for a string or comment that never ends."
    words = [token for token in lex(sql) if token.kind != "comment"]
    if words and words[-1].kind == "unclosed":
        begun = words[-1]
        raise PipelineError(
            f"this {_UNCLOSED[begun.text[0]]} never ends: {begun.text.splitlines()[0][:40]}",
            locate(sql, begun.start, location),
        )
    return words


def string_value(
    text: str,  # A string as written, with its quotes
) -> str:  # What it means
    "Read a string."
    if text[0] in "rR":
        return text[2:-1]
    return re.sub(
        r'\\(.)|(\'\'|"")',
        lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]) if m[1] else m[2][0],
        text[1:-1],
    )


def closing_bracket(
    words: list[Token],  # Tokens
    start: int,  # Index of an opening bracket
) -> int:  # Index of the bracket that closes it, or of the last token
    "Find the bracket that closes another."
    depth = 0
    for index in range(start, len(words)):
        depth += words[index].says("(") - words[index].says(")")
        if depth == 0:
            return index
    return len(words) - 1


def split_at_commas(
    words: list[Token],  # Consecutive words
) -> list[list[Token]]:  # The same, split at commas outside of brackets
    "Split at commas."
    parts: list[list[Token]] = [[]]
    depth = 0
    for word in words:
        if depth == 0 and word.says(","):
            parts.append([])
            continue
        depth += word.says("(") - word.says(")")
        parts[-1].append(word)
    return parts


def has_subquery(
    sql: str,  # An expression
) -> bool:
    "Whether a query stands in brackets in an expression."
    words = [token for token in lex(sql) if token.kind != "comment"]
    return any(
        before.says("(") and word.says("SELECT", "WITH", "FROM", "TABLE", "VALUES")
        for before, word in pairwise(words)
    )


def first_word(
    sql: str,  # SQL text
) -> str:  # In upper case; empty where there is none
    "Read the word that a text begins with."
    return next((word.text.upper() for word in tokenize(sql)), "")
