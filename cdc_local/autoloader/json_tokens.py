"""JSON as Spark's parser tokenizes it, lenient where that is lenient, and after an error where that stands.

What Spark makes of a faulty document depends on where its parser goes on: a value of the tokens read before
may stay. So the states here are those of [Jackson](https://github.com/FasterXML/jackson-core)'s parser, as
Spark sets it: single quotes are allowed, comments and bare names are not."""

import re
from dataclasses import dataclass
from enum import Enum

from cdc_local.errors import NeedsSparkError

MAX_DEPTH = 100  # Deeper documents are Spark's: it has a limit of its own, and so has Python
MAX_NUMBER = 1000  # Characters of a number; Spark's parser refuses longer ones when it needs their value
MAX_TEXT = 10_000_000  # Characters of a document
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "/": "/", "\\": "\\", "'": "'"}
_NUMBER = re.compile(r"(?P<whole>-?(?:0|[1-9][0-9]*))(?P<more>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_FULL_NUMBER_START = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]*)?")
_PLAIN_STRING = re.compile(r'[^"\\\x00-\x1f]*')
_PLAIN_QUOTED = re.compile(r"[^'\\\x00-\x1f]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonSyntaxError(Exception):
    "A text is no JSON here."


class JsonToken(Enum):
    "What a parser stands at."

    START_OBJECT = "{"
    END_OBJECT = "}"
    START_ARRAY = "["
    END_ARRAY = "]"
    NAME = "name"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    TRUE = "true"
    FALSE = "false"
    NULL = "null"


_STARTS = {JsonToken.START_OBJECT, JsonToken.START_ARRAY}
_ENDS = {JsonToken.END_OBJECT, JsonToken.END_ARRAY}
_LITERALS = {"t": ("true", JsonToken.TRUE), "f": ("false", JsonToken.FALSE), "n": ("null", JsonToken.NULL)}


@dataclass
class _Context:
    "An open object or array, or the document."

    kind: JsonToken | None  # Its start; None for the document
    parent: "_Context | None" = None
    depth: int = 0
    count: int = -1  # Values or names begun in it, less one
    name: str = ""  # The field that is read in an object

    def expects_comma(self) -> bool:
        "Count one more value, and tell whether a comma stands before it."
        self.count += 1
        return self.kind is not None and self.count > 0


def join_surrogates(
    text: str,  # Text with UTF-16 units out of escapes
) -> str:  # With pairs made one character; single ones stay
    "Make characters of the halves that `\\u` escapes name."
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class JsonTokens:
    "The tokens of a text, one after the other."

    def __init__(
        self,
        text: str,  # Begins with a JSON document; what follows it is not looked at
        allows_nan: bool = True,  # Take NaN and Infinity for numbers
    ) -> None:
        if len(text) > MAX_TEXT:
            raise NeedsSparkError(
                f"A JSON document of more than {MAX_TEXT:,} characters is read by Spark alone"
            )
        self.source, self.position, self._allows_nan = text, 0, allows_nan
        self.token: JsonToken | None = None
        self._after_name: JsonToken | None = None
        self._context = _Context(None)
        self._text = ""  # Of the current string or number
        self._unread = ""  # The quote of a string that is not read yet; empty otherwise

    @property
    def name(self) -> str:
        "The field that is read; of an object or array that begins, the field it is in."
        context = self._context
        if self.token in _STARTS and context.parent is not None:
            context = context.parent
        return context.name

    def text(self) -> str:
        "The text of the current string or number; JsonSyntaxError for a faulty string."
        if self._unread:
            self._unread = ""
            self._text = self._read_string('"')
        return self._text

    def next(self) -> JsonToken | None:  # None at the document's end, and once after some errors
        "Go to the next token; JsonSyntaxError where there is none."
        if self.token is JsonToken.NAME:
            return self._enter_value()
        if self._unread:
            self._unread = ""
            self._read_string('"')
        char = self._skip_space()
        if not char:
            if self._context.kind is not None:
                raise JsonSyntaxError("unexpected end")
            self.token = None
            return None
        if char in "]}":
            return self._close(char)
        if self._context.expects_comma():
            if char != ",":
                raise JsonSyntaxError(f"expected a comma, found {char}")
            char = self._skip_space() or self._fail("unexpected end")
        if self._context.kind is not JsonToken.START_OBJECT:
            found = self._begin_value(char)
            if found in _STARTS:
                self._open(found)
            self.token = found
            return found
        self._context.name = self._read_name(char)
        self.token = JsonToken.NAME
        if (self._skip_space() or self._fail("unexpected end")) != ":":
            raise JsonSyntaxError("expected a colon")
        self._after_name = self._begin_value(self._skip_space() or self._fail("unexpected end"))
        return self.token

    def skip_children(self) -> None:
        "Go to the end of the object or array that begins; nothing to do at another token."
        if self.token not in _STARTS:
            return
        depth = 1
        while depth:
            token = self.next()
            if token is None:
                if self._context.kind is not None:
                    raise JsonSyntaxError("unexpected end")
                return
            depth += (token in _STARTS) - (token in _ENDS)

    def _enter_value(self) -> JsonToken | None:
        found, self._after_name = self._after_name, None
        if found in _STARTS:
            self._open(found)
        self.token = found
        return found

    def _open(self, kind: JsonToken) -> None:
        self._context = _Context(kind, self._context, self._context.depth + 1)
        if self._context.depth > MAX_DEPTH:
            raise NeedsSparkError(f"JSON nested more than {MAX_DEPTH} deep is read by Spark alone")

    def _close(self, char: str) -> JsonToken:
        opened, token = (
            (JsonToken.START_ARRAY, JsonToken.END_ARRAY)
            if char == "]"
            else (JsonToken.START_OBJECT, JsonToken.END_OBJECT)
        )
        if self._context.kind is not opened or self._context.parent is None:
            raise JsonSyntaxError(f"unexpected {char}")
        self._context = self._context.parent
        self.token = JsonToken(char)
        return self.token

    def _fail(self, message: str) -> str:
        raise JsonSyntaxError(message)

    def _skip_space(
        self,
    ) -> str:  # The character after white space, behind which the position is then; or empty
        match = _SPACE.match(self.source, self.position)
        self.position = match.end() if match else self.position
        char = self.source[self.position : self.position + 1]
        self.position += len(char)
        if char and (char < " " or char == "/"):
            raise JsonSyntaxError("a control character or a comment")
        return char

    def _read_name(self, char: str) -> str:
        if char not in "\"'":
            raise JsonSyntaxError("expected a name")
        return self._read_string(char)

    def _begin_value(self, char: str) -> JsonToken:
        self._text = ""
        if char == '"':
            self._unread = char
            return JsonToken.STRING
        if char in "{[":
            return JsonToken(char)
        if char in _LITERALS:
            word, token = _LITERALS[char]
            self._match_word(word, 1)
            return token
        if char in "-0123456789":
            return self._read_number()
        if char == "'":
            self._text = self._read_string(char)
            return JsonToken.STRING
        return self._read_odd_value(char)

    def _read_odd_value(self, char: str) -> JsonToken:
        for word in ("NaN", "Infinity"):
            if char == word[0]:
                return self._read_special_number(word, 1)
        if char == "+":
            return self._read_odd_number("+")
        if char.isidentifier() or char == "$":
            self._report_word(char)
        raise JsonSyntaxError(f"unexpected {char}")

    def _read_odd_number(self, sign: str) -> JsonToken:  # The position is behind the sign
        start = self.source[self.position : self.position + 2]
        self.position += min(len(start), 1)
        if start[:1] == "I":
            self.position += min(len(start[1:]), 1)
            for word in (sign + "INF", sign + "Infinity"):
                if start[1:] == word[2]:
                    return self._read_special_number(word, 3)
        raise JsonSyntaxError("a sign without a number")

    def _read_special_number(self, word: str, matched: int) -> JsonToken:
        self._match_word(word, matched)
        if not self._allows_nan:
            raise JsonSyntaxError(f"unexpected {word}")
        self._text = word
        return JsonToken.FLOAT

    def _read_number(self) -> JsonToken:
        start = self.position - 1
        match = _NUMBER.match(self.source, start)
        if match is None:
            return self._read_odd_number("-")
        whole = _FULL_NUMBER_START.match(self.source, start)
        if whole is None or whole.end() != match.end():
            # a leading zero, or no digit after a point or an `e`: the whole digits are read, and that sign
            self.position = match.end("whole")
            self.position += self.source[self.position] in ".eE"
            raise JsonSyntaxError("a faulty number")
        self.position = match.end()
        self._text = match[0]
        if len(self._text) > MAX_NUMBER:
            raise NeedsSparkError(
                f"A JSON number of more than {MAX_NUMBER} characters is read by Spark alone"
            )
        if self._context.kind is None and self.source[self.position : self.position + 1] not in (
            "",
            " ",
            "\t",
            "\r",
            "\n",
        ):
            raise JsonSyntaxError("a number is followed by something")
        return JsonToken.FLOAT if match["more"] else JsonToken.INTEGER

    def _match_word(
        self, word: str, matched: int
    ) -> None:  # Characters matched, behind which the position is
        for index in range(matched, len(word)):
            if self.source[self.position : self.position + 1] != word[index]:
                self._report_word(word[:index])
            self.position += 1
        char = self.source[self.position : self.position + 1]
        if char >= "0" and char not in "]}" and _is_part_of_word(char):
            self._report_word(word)

    def _report_word(self, found: str) -> None:
        while _is_part_of_word(self.source[self.position : self.position + 1]):
            self.position += 1
        raise JsonSyntaxError(f"unexpected {found}")

    def _read_string(self, quote: str) -> str:  # The position is behind the quote that opens it
        plain = _PLAIN_STRING if quote == '"' else _PLAIN_QUOTED
        parts = []
        while True:
            match = plain.match(self.source, self.position)
            assert match is not None
            parts.append(match[0])
            self.position = match.end()
            char = self.source[self.position : self.position + 1]
            if not char:
                raise JsonSyntaxError("unexpected end of a string")
            self.position += 1
            if char == quote:
                return join_surrogates("".join(parts))
            if char != "\\":
                raise JsonSyntaxError("a control character in a string")
            parts.append(self._read_escape())

    def _read_escape(self) -> str:
        char = self.source[self.position : self.position + 1]
        self.position += len(char)
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char != "u":
            raise JsonSyntaxError("a faulty escape")
        value = 0
        for _ in range(4):
            digit = self.source[self.position : self.position + 1]
            self.position += len(digit)
            if not digit or digit not in "0123456789abcdefABCDEF":
                raise JsonSyntaxError("a faulty escape")
            value = value * 16 + int(digit, 16)
        return chr(value)


def _is_part_of_word(char: str) -> bool:
    "Whether Java takes a character for part of an identifier; NeedsSparkError where Python can't tell."
    if not char.isascii():
        raise NeedsSparkError(f"A JSON document with {char!r} outside of its strings is read by Spark alone")
    return bool(char) and (
        char.isalnum() or char in "_$" or char < "\t" or "\x0e" <= char <= "\x1b" or char == "\x7f"
    )
