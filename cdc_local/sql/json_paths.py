"""`raw:address.city`: Databricks' paths into JSON, found in a text and written as Spark writes them.

A column of type VARIANT has such paths on Spark too. Over a JSON string, Spark refuses them, and here each
becomes an expression of Spark's own functions that reads no other type: names without regard to case, an
error where a name fits two fields, quoted fields as they are written, NULL for what is not there."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cdc_local.errors import Location
from cdc_local.sql.lexer import Token, lex, string_value
from cdc_local.sql.positions import refuse_at

# Words after which a colon begins the name of a parameter, as in `LIMIT :rows`
_BEFORE_PARAMETERS = re.compile(
    "ALL|AND|ANY|AS|BETWEEN|BY|CASE|DISTINCT|DIV|ELSE|END|ESCAPE|EXCEPT|FETCH|FROM|HAVING|ILIKE|IN|INTERVAL|IS|"
    "JOIN|LIKE|LIMIT|NOT|OF|OFFSET|ON|OR|REGEXP|RLIKE|SELECT|SET|SOME|THEN|UNION|USING|VALUES|WHEN|WHERE",
    re.I,
)
# What may follow an item of a SELECT that has no name of its own
_AFTER_ITEMS = re.compile(
    "[,);|]|CLUSTER|DISTRIBUTE|EXCEPT|FROM|GROUP|HAVING|INTERSECT|LATERAL|LIMIT|MINUS|ORDER|QUALIFY|SORT|UNION|"
    "WHERE|WINDOW",
    re.I,
)
# Words that end the list of a SELECT before
_CLAUSES = re.compile(
    "BY|FROM|GROUP|HAVING|INTO|LATERAL|ON|ORDER|PARTITION|QUALIFY|SET|USING|VALUES|WHERE|WINDOW", re.I
)
_NAMES = ("word", "name", "number")
_UNWRITTEN = "'?"  # Spark's paths have no way to write a field with one of these
IN_VARIANT = "write variant_get(value, '$.name', 'type') for a VARIANT"
_INSTEAD = "read it with from_json and a schema"
_AMBIGUOUS = "a path names two fields of a JSON object that differ in case; write one as [\\'name\\']"


@dataclass(frozen=True)
class PathStep:
    "One part of a path."

    kind: Literal["name", "field", "index", "all"]  # `.city`, `['zip code']`, `[0]`, `[*]`
    text: str  # The name, the field or the index


@dataclass(frozen=True)
class JsonPath:
    "A path in a text."

    words: Sequence[Token]  # The text's words
    first: int  # Index of the first word of what it goes into
    colon: int  # Index of its colon
    last: int  # Index of its last word
    steps: tuple[PathStep, ...]

    @property
    def start(self) -> int:
        "Where it begins in the text, with what it goes into."
        return self.words[self.first].start

    @property
    def stop(self) -> int:
        "Where it ends."
        return self.words[self.last].stop

    @property
    def name(self) -> str | None:
        "What its column is called where nobody says: its last name; None where it has none."
        named = [step.text for step in self.steps if step.kind in ("name", "field")]
        return named[-1] if named else None


def find_json_paths(
    sql: str,  # A query, or an expression
) -> list[JsonPath]:  # In the order of the text
    "Find the paths in a text; parameters, casts and the fields of a type are none."
    if ":" not in sql:
        return []
    words = [word for word in lex(sql) if word.kind != "comment"]
    in_types = _words_of_types(words)
    found = []
    for at, word in enumerate(words):
        if word.says(":") and at not in in_types and not _is_doubled(words, at):
            path = _read_path(words, at)
            if path is not None:
                found.append(path)
    return found


def write_json_paths(
    sql: str,  # A query, or an expression
    origin: Location | None = None,  # Where its first line stands
) -> str:  # The same over JSON strings, for Spark; without paths, the text itself
    "Write the paths of a text as Spark reads them; `PipelineError` for one that Spark can't."
    sql = name_json_paths(sql)
    while paths := find_json_paths(sql):
        path = paths[0]  # what it goes into holds no other
        base = sql[path.start : path.words[path.colon].start].strip()
        try:
            written = _write_path(base, path.steps)
        except ValueError as unwritten:
            shown = sql[path.start : path.stop]
            raise refuse_at(sql, path.start, origin, f"{shown}: {unwritten}", _INSTEAD) from None
        sql = sql[: path.start] + written + sql[path.stop :]
    return sql


def find_other_type(
    error: BaseException,  # Of Spark
) -> str | None:  # The type, as `STRUCT<a: INT>`; None for another error
    "Find the type of what a path leads into that is no string."
    parameters: dict[str, str] = getattr(error, "getMessageParameters", dict)() or {}
    if "get_json_object" not in parameters.get("sqlExpr", "") or "inputType" not in parameters:
        return None
    return str(parameters["inputType"]).strip('"')


def explain_type(
    error: BaseException,  # Anything that a query raised
) -> str:  # What to write instead; nothing for another error
    "Say what to write where an `expr` reads a VARIANT by a path."
    return (
        f"the path of an expr leads into a JSON string; {IN_VARIANT}"
        if find_other_type(error) == "VARIANT"
        else ""
    )


def name_json_paths(
    sql: str,  # A query, or an expression
) -> str:  # The same, each path that is an item of a SELECT with its name
    "Name columns as Databricks does: `SELECT raw:address.city` is called `city`."
    for path in reversed(find_json_paths(sql)):
        end = _skip_casts(path.words, path.last)
        if path.name is not None and _is_item(path.words, path.first, end):
            stop = path.words[end].stop
            sql = f"{sql[:stop]} AS `{path.name.replace('`', '``')}`{sql[stop:]}"
    return sql


def _is_doubled(words: Sequence[Token], at: int) -> bool:
    "Whether a colon is half of `::`."
    neighbours = [words[n] for n in (at - 1, at + 1) if 0 <= n < len(words)]
    return any(word.says(":") and abs(word.start - words[at].start) == 1 for word in neighbours)


def _words_of_types(words: Sequence[Token]) -> set[int]:
    "Indices of what stands between the angle brackets of a type, as `STRUCT<a: INT>`."
    inside, depth = set(), 0
    for at, word in enumerate(words):
        if word.says("<") and (depth or (at and words[at - 1].says("STRUCT", "ARRAY", "MAP"))):
            depth += 1
        elif depth and word.says(">"):
            depth -= 1
        elif depth:
            inside.add(at)
    return inside


def _read_path(words: Sequence[Token], colon: int) -> JsonPath | None:
    "Read what stands around a colon; None where it is no path."
    first = start_of_operand(words, colon - 1)
    if first is None:
        return None
    steps, last = [], colon
    for step, stop in _read_steps(words, colon + 1):
        steps.append(step)
        last = stop
    return JsonPath(words, first, colon, last, tuple(steps)) if steps else None


def _read_steps(words: Sequence[Token], at: int) -> Iterator[tuple[PathStep, int]]:
    "Read the steps of a path, each with the index of its last word."
    is_first = True
    while at < len(words):
        if words[at].says("["):
            inside = words[at + 1 : at + 3]
            step = _read_bracket(inside[0]) if len(inside) == 2 and inside[1].says("]") else None
            if step is None:
                return
            at += 2
        elif is_first and words[at].kind in _NAMES:
            step = PathStep("name", _name(words[at]))
        elif words[at].says(".") and at + 1 < len(words) and words[at + 1].kind in _NAMES:
            at += 1
            step = PathStep("name", _name(words[at]))
        else:
            return
        yield step, at
        at, is_first = at + 1, False


def _read_bracket(word: Token) -> PathStep | None:
    "Read what stands in the square brackets of a path."
    if word.kind == "string":
        return PathStep("field", string_value(word.text))
    if word.says("*"):
        return PathStep("all", "*")
    return PathStep("index", word.text) if word.kind == "number" and word.text.isdecimal() else None


def _name(word: Token) -> str:
    return word.text[1:-1].replace("``", "`") if word.kind == "name" else word.text


def start_of_operand(
    words: Sequence[Token],  # The text's words
    last: int,  # Index of a word
) -> int | None:  # Index of its first word; None where none ends there
    "Find where the operand begins that ends at a word: `t.raw`, `f(x)`, `(…)`, `xs[0]`, `'…'`."
    at = last
    while at >= 0:
        if words[at].says(":"):  # a path stands behind it, or the name of a parameter
            before = start_of_operand(words, at - 1)
            return at if before is None else before
        if words[at].says(")", "]"):
            at = _opening(words, at)
            is_called = at > 0 and words[at - 1].kind in ("word", "name") and not _is_keyword(words[at - 1])
            if words[at].says("[") or is_called:
                at -= 1
                continue
        elif words[at].kind not in (*_NAMES, "string") or (at == last and _is_keyword(words[at])):
            return None
        if at > 1 and words[at - 1].says(".") and words[at].kind in _NAMES:
            at -= 2
        elif at > 2 and words[at - 1].says(":") and words[at - 2].says(":"):
            at -= 4 if words[at - 3].says("?") else 3
        elif at > 0 and words[at - 1].says(":"):
            at -= 1
        else:
            return at
    return None


def _is_keyword(word: Token) -> bool:
    return _says(word, _BEFORE_PARAMETERS)


def _says(word: Token, words: re.Pattern[str]) -> bool:
    "Whether a word is one of some, unquoted."
    return word.kind in ("word", "sign") and words.fullmatch(word.text) is not None


def _opening(words: Sequence[Token], closing: int) -> int:
    "The bracket that another closes; the first word where there is none."
    depth = 0
    for at in range(closing, -1, -1):
        depth += words[at].says(")", "]") - words[at].says("(", "[")
        if depth == 0:
            return at
    return 0


def _skip_casts(words: Sequence[Token], last: int) -> int:
    "The last word of the casts that follow: `::decimal(10, 2)`."
    while last + 3 < len(words) and words[last + 1].says(":") and words[last + 2].says(":"):
        last = skip_type(words, last + 3)
    return last


def skip_type(
    words: Sequence[Token],  # The text's words
    first: int,  # Index of the first word of a type
) -> int:  # Index of its last
    "Find where a type ends: `int`, `decimal(10, 2)`, `array<struct<a: int>>`."
    last = first
    for opening, closing in (("(", ")"), ("<", ">")):
        if not words[last + 1 : last + 2] or not words[last + 1].says(opening):
            continue
        depth = 0
        for at in range(last + 1, len(words)):
            depth += words[at].says(opening) - words[at].says(closing)
            if depth == 0:
                last = at
                break
    return last


def _is_item(words: Sequence[Token], first: int, last: int) -> bool:
    "Whether some words are a whole item of a SELECT, or all of an expression, without a name."
    after = words[last + 1] if last + 1 < len(words) else None
    if after is not None and not _says(after, _AFTER_ITEMS):
        return False
    if first == 0:
        return after is None
    before = words[first - 1]
    if not before.says(",", "SELECT", "ALL", "DISTINCT"):
        return False
    depth = 0
    for word in reversed(words[:first]):
        depth += word.says(")", "]") - word.says("(", "[")
        if depth < 0 or (depth == 0 and _says(word, _CLAUSES)):
            return False
        if depth == 0 and word.says("SELECT"):
            return True
    return False


def _write_path(base: str, steps: Sequence[PathStep]) -> str:
    "Write a path over a JSON string in Spark's functions; `ValueError` for one that they can't follow."
    stars = [n for n, step in enumerate(steps) if step.kind == "all"]
    if len(stars) > 1:
        raise ValueError("several [*] in one path are not read here")
    before, after = (steps[: stars[0]], steps[stars[0] + 1 :]) if stars else (steps, ())
    written = [_write_step(step) for step in before]
    if not stars and all(step.kind == "field" for step in before):
        return f"get_json_object({base}, '${''.join(written)}')"
    value = "get_json_object({0}.json, {0}.path)"
    if stars:
        value = _every_element("{0}", after) if after else f"if(startswith({_QUOTED}, '['), {value}, NULL)"
    elif steps[-1].kind == "index":
        value = f"if({_QUOTED} = 'null', NULL, {value})"
    return _follow(base, "'$'", written, "__json", value)


# The value at a path as JSON, a string with its quotes: in an array of one document Spark writes it so
_QUOTED = "get_json_object(concat('[', {0}.json, ']'), concat('$[*]', substr({0}.path, 2)))"


def _every_element(place: str, steps: Sequence[PathStep]) -> str:
    "Write what `[*]` and the steps after it mean: an array, with null for what an element lacks."
    element = _follow(
        f"{place}.json",
        f"concat({place}.path, '[', __index, ']')",
        [_write_step(step) for step in steps],
        "__element",
        f"coalesce({_QUOTED}, 'null')",
    )
    count = f"json_array_length(get_json_object({place}.json, {place}.path))"
    elements = f"array_join(transform(sequence(0, {count} - 1), __index -> {element}), ',')"
    return (
        f"CASE WHEN NOT startswith({_QUOTED.format(place)}, '[') THEN NULL "
        f"WHEN {count} = 0 THEN '[]' ELSE concat('[', {elements}, ']') END"
    )


def _follow(base: str, start: str, steps: Sequence[str], place: str, value: str) -> str:
    "Write an expression that follows steps from a path on, and takes a value of where they end."
    written = ", ".join(f"'{step}'" for step in steps)
    return (
        f"aggregate(array({written}), named_struct('json', {base}, 'path', {start}), ({place}, __step) -> "
        f"named_struct('json', {place}.json, 'path', concat({place}.path, {_resolved(place)})), "
        f"{place} -> {value.format(place)})"
    )


def _resolved(place: str) -> str:
    "Write the step to a field: as it is, or for a name the one field that has it in any case."
    name = "substr(__step, 2)"
    here = f"if({place}.path = '$', {place}.json, get_json_object({place}.json, {place}.path))"
    ambiguous = f"raise_error(concat('{_AMBIGUOUS}: ', {name}))"
    field = (
        f"aggregate(json_object_keys({here}), CAST(NULL AS STRING), (__found, __key) -> CASE "
        f"WHEN lower(__key) <> lower({name}) THEN __found "
        f"WHEN __found IS NULL OR __found = __key THEN __key ELSE {ambiguous} END)"
    )
    return f"if(startswith(__step, '['), __step, concat('[\\'', {field}, '\\']'))"


def _write_step(step: PathStep) -> str:
    "Write a step for `_resolved`, in a SQL string."
    if step.kind == "index":
        return f"[{step.text}]"
    if not step.text.strip() or step.text != step.text.lstrip() or step.text == "*":
        raise ValueError(f"a field called {step.text!r} is not read here")
    if any(sign in step.text for sign in _UNWRITTEN):
        raise ValueError(f"a field with {' or '.join(_UNWRITTEN)} in its name is not read here")
    text = step.text.replace("\\", "\\\\")
    return f".{text}" if step.kind == "name" else f"[\\'{text}\\']"
