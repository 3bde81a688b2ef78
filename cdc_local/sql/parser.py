"""A statement, read word by word."""

import difflib
import re
from typing import NoReturn

from cdc_local.errors import Location, PipelineError, locate
from cdc_local.sql.lexer import Token, closing_bracket, lex, split_at_commas, string_value, tokenize


def fill_parameters(
    sql: str,  # Text with `${parameter}`
    configuration: dict[str, str],  # The pipeline's configuration
    location: Location | None = None,  # Where the text's first line stands
) -> str:  # The text with their values
    "Put the configuration's values in; `PipelineError` names a parameter that has none."
    comments = [token for token in lex(sql) if token.kind == "comment"]

    def value(match: re.Match[str]) -> str:
        key = match[1].strip()
        if any(comment.start <= match.start() < comment.stop for comment in comments):
            return match[0]
        if key in configuration:
            return str(configuration[key])
        near = difflib.get_close_matches(key, configuration, 1)
        raise PipelineError(
            f"parameter ${{{key}}} has no value",
            locate(sql, match.start(), location),
            f"did you mean ${{{near[0]}}}?"
            if near
            else f"set it in the pipeline's configuration, or by --conf {key}=value",
        )

    return re.sub(r"\$\{([^}]*)\}", value, sql)


class Statement:
    "A statement being read, word by word."

    def __init__(self, sql: str, words: list[Token], location: Location | None = None) -> None:
        self.sql, self.words, self.origin, self.at = sql, words, location, 0

    @property
    def location(self) -> Location:
        "Where it starts."
        return locate(self.sql, self.words[0].start, self.origin)

    @property
    def here(self) -> Token:
        "The next word; an empty one at the end."
        return (
            self.words[self.at]
            if self.at < len(self.words)
            else Token("end", "", len(self.sql), len(self.sql))
        )

    def sees(self, *phrases: str) -> bool:
        "Whether one of the phrases comes next."

        def matches(phrase: str) -> bool:
            expected = phrase.split()
            words = self.words[self.at : self.at + len(expected)]
            return len(words) == len(expected) and all(map(Token.says, words, expected))

        return any(matches(phrase) for phrase in phrases)

    def takes(self, phrase: str) -> bool:
        "Step over a phrase if it comes next."
        found = self.sees(phrase)
        if found:
            self.at += len(phrase.split())
        return found

    def needs(self, phrase: str) -> None:
        "Step over a phrase that must come next."
        if not self.takes(phrase):
            self.fail(f"expected {phrase}")

    def next(self) -> Token:
        "Step over one word."
        self.at += 1
        return self.words[self.at - 1] if self.at <= len(self.words) else self.fail("it ends too early")

    def fail(self, message: str, hint: str = "") -> NoReturn:
        "Refuse the statement at the next word."
        near = f" at {self.here.text[:40]!r}" if self.here.text and message.startswith("expected") else ""
        where = min(self.here.start, self.words[-1].start)
        raise PipelineError(message + near, locate(self.sql, where, self.origin), hint)


def split_statements(
    sql: str,  # Text of a file or cell
    location: Location | None = None,  # Where its first line stands
) -> list[Statement]:  # Its statements; empty ones left out
    "Split a text at the semicolons that are not in strings or comments."
    found, words = [], []
    for word in tokenize(sql, location):
        if not word.says(";"):
            words.append(word)
            continue
        if words:
            found.append(Statement(sql, words, location))
        words = []
    return found + ([Statement(sql, words, location)] if words else [])


def read_name_parts(
    statement: Statement,  # A name comes next
) -> str:  # The name as written
    "Read a name of one or more parts."
    if statement.takes("IDENTIFIER ("):
        statement.fail(
            "IDENTIFIER() is not supported as the name of a declaration",
            "write the name, with ${parameter} if need be",
        )
    first = statement.next()
    if first.kind not in ("word", "name", "number"):
        statement.at -= 1
        statement.fail("expected a name")
    while statement.takes("."):
        statement.next()
    return statement.sql[first.start : statement.words[statement.at - 1].stop]


def read_string(
    statement: Statement,  # A string comes next
) -> str:  # Its value
    "Read a string; several in a row are one."
    parts = []
    while statement.here.kind == "string":
        parts.append(string_value(statement.next().text))
    return "".join(parts) if parts else statement.fail("expected a string")


def skip_bracket(
    statement: Statement,  # An opening bracket comes next
) -> list[Token]:  # What it holds
    "Step over a bracket."
    if not statement.sees("("):
        statement.fail("expected (")
    start, stop = statement.at, closing_bracket(statement.words, statement.at)
    if not statement.words[stop].says(")"):
        statement.fail("this bracket is never closed")
    statement.at = stop + 1
    return statement.words[start + 1 : stop]


def read_columns(
    statement: Statement,  # A list of columns comes next
    words: list[Token] | None = None,  # Its words, where they are known
) -> tuple[str, ...]:  # Their names
    "Read column names, in brackets or bare."
    names = []
    for part in split_at_commas(skip_bracket(statement) if words is None else words):
        plain = len(part) % 2 and all(
            word.says(".") if n % 2 else word.kind in ("word", "name", "number")
            for n, word in enumerate(part)
        )
        if not plain:
            statement.fail(
                f"{spanned_text(statement, part) if part else 'an empty name'} is no column",
                "name plain columns, separated by commas",
            )
        names.append("".join(word.text.strip("`") for word in part))
    return tuple(names)


def spanned_text(
    statement: Statement,  # Has the text
    words: list[Token],  # Consecutive words of it
) -> str:  # What is written there
    "The text that some words span."
    return (
        statement.sql[words[0].start : words[-1].stop] if words else statement.fail("expected an expression")
    )


def read_expression(
    statement: Statement,  # An expression comes next
    *ends: str,  # Phrases that end it
) -> str:  # Its text
    "Read an expression up to the next clause."
    start, depth = statement.at, 0
    while statement.at < len(statement.words):
        if depth == 0 and statement.at > start and statement.sees(*ends):
            break
        word = statement.next()
        depth += word.says("(") - word.says(")")
    return spanned_text(statement, statement.words[start : statement.at])


def read_properties(
    statement: Statement,  # A bracket of properties comes next
) -> dict[str, str]:  # Their values as text
    "Read `(key = value, 'key' 'value')`."
    found, words = {}, skip_bracket(statement)
    for part in filter(None, split_at_commas(words)):
        equals = next((n for n, word in enumerate(part) if word.says("=")), None)
        cut = equals if equals is not None else 1 if part[0].kind == "string" else len(part) - 1
        sides = part[:cut], part[cut + (equals is not None) :]
        if not all(sides):
            statement.fail(f"{spanned_text(statement, part)} is no property", "write 'key' = 'value'")
        key, value = [
            read_string(Statement(statement.sql, side, statement.origin))
            if side[0].kind == "string"
            else spanned_text(statement, side)
            for side in sides
        ]
        found[key] = value
    return found
