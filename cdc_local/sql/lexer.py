"""SQL text as words: strings, names, comments, brackets."""

import re
from typing import NamedTuple

from cdc_local.errors import Location, PipelineError, locate


class Token(NamedTuple):
    "A word of SQL."

    kind: str  # 'string', 'name' (in backticks), 'word', 'number' or 'sign'
    text: str  # As written
    start: int  # Position of its first character
    stop: int  # Position after its last

    def says(self, *words: str) -> bool:
        "Whether this is one of the (upper-case) words or signs, unquoted."
        return self.kind in ("word", "sign") and self.text.upper() in words


_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
  |(?P<string>[rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
  |(?P<name>`(?:[^`]|``)*`)|(?P<word>[^\W\d]\w*)|(?P<number>\d\w*(?:\.\d\w*)?)|(?P<sign>[^\s])""",
    re.S | re.X,
)


def tokenize(
    sql: str,  # SQL text
    location: Location = None,  # Where its first line stands, for the message
) -> list[Token]:  # Its words in order, without space and comments
    "Split SQL into words; `PipelineError` for a string or comment that never ends."
    found = []
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "comment":
            continue
        if match[0] in "'\"`" or sql.startswith("/*", match.start()) and match[0] == "/":
            what = "comment" if match[0] == "/" else "string" if match[0] != "`" else "name in backticks"
            raise PipelineError(
                f"this {what} never ends: {sql[match.start() :].splitlines()[0][:40]}",
                locate(sql, match.start(), location),
            )
        found.append(Token(match.lastgroup, match[0], match.start(), match.end()))
    return found


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
