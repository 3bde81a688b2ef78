"""What stands in the bracket of a table: columns, keys, rules. The same in a SQL statement and in Python."""

import re
from dataclasses import dataclass, field, replace

from cdc_local.dataflow.graph import Action, Expectation
from cdc_local.dataflow.table_schema import DeclaredColumn, Identity, TableSchema
from cdc_local.errors import PipelineError
from cdc_local.sql.dialect import translate_words
from cdc_local.sql.parser import (
    Statement,
    read_expression,
    read_name_parts,
    read_string,
    skip_bracket,
    spanned_text,
    split_statements,
)
from cdc_local.sql_names import unquote


@dataclass
class Specification:
    "The bracket of a table."

    columns: list[DeclaredColumn] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)
    # Name of a table property -> what was said: keys, masks, tags, how columns are computed
    notes: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)  # Parts without effect here


_ACTIONS: dict[str, Action] = {"DROP ROW": "drop", "FAIL UPDATE": "fail"}
_KEYS = ("PRIMARY KEY", "FOREIGN KEY", "REFERENCES")
_COLUMN_PARTS = ("NOT NULL", "COMMENT", "CONSTRAINT", *_KEYS, "GENERATED", "MASK", "DEFAULT", "EXPECT")
_TAGS = ("TAGS", "WITH TAGS")
_COLUMN_ENDS = (",", ")", *_COLUMN_PARTS, *_TAGS)


def read_schema_text(
    text: str,  # `schema=` of a table in Python
) -> Specification:
    "Read a schema in Python's spelling of it: what a SQL statement has in its bracket."
    if struct := re.fullmatch(r"\s*struct\s*<(.*)>\s*", text, re.I | re.S):  # a type, which Spark takes, too
        text = struct[1]
    statements = split_statements(f"({text})")
    if len(statements) != 1:
        raise PipelineError("a schema has no semicolon", hint="separate the columns by commas")
    specification = Specification()
    read_specification(statements[0], specification)
    if statements[0].here.text:
        statements[0].fail("expected , or the end of the schema")
    untyped = [column.name for column in specification.columns if not column.type]
    if untyped:
        raise PipelineError(f"column {untyped[0]} has no type", hint="write its type after its name")
    if specification.expectations:
        raise PipelineError(
            f"expectation {specification.expectations[0].name} stands in a schema of Python",
            hint="write @dp.expect above the function, or expect_all= of create_streaming_table",
        )
    return specification


def read_specification(
    statement: Statement,  # The bracket after a name comes next
    specification: Specification,  # Takes what it holds
) -> None:
    "Read columns and constraints."
    statement.needs("(")
    while True:
        if statement.takes("CONSTRAINT"):
            read_constraint(statement, specification)
        elif statement.sees("PRIMARY KEY", "FOREIGN KEY"):
            _note_key(statement, specification, "")
        else:
            read_column(statement, specification)
        if statement.sees("CONSTRAINT"):
            continue  # constraints may follow each other without a comma
        if statement.takes(")"):
            return
        statement.needs(",")


def read_constraint(
    statement: Statement,  # Stands after CONSTRAINT
    specification: Specification,  # Takes the expectation or the key
    column: str = "",  # The column that it stands behind, if it does
) -> None:
    "Read `name EXPECT (rule) [ON VIOLATION …]`, or a key."
    name = read_name_parts(statement).strip("`")
    if statement.sees(*_KEYS):
        _note_key(statement, specification, column, name)
        return
    if not statement.takes("EXPECT"):
        statement.fail(
            f"constraint {name} is not supported", "a pipeline has EXPECT (…), PRIMARY KEY and FOREIGN KEY"
        )
    rule = translate_words(statement, skip_bracket(statement))
    action = _read_action(statement, name)
    if any(each.name == name for each in specification.expectations):
        statement.fail(f"expectation {name} is declared twice")
    specification.expectations.append(Expectation(name, rule, action))


def _read_action(
    statement: Statement,  # Stands after the rule
    name: str,  # Of the expectation
) -> Action:  # What happens when a row breaks it
    "Read `[ON VIOLATION DROP ROW | FAIL UPDATE]`."
    if not statement.takes("ON VIOLATION"):
        return "warn"
    for phrase, action in _ACTIONS.items():
        if statement.takes(phrase):
            return action
    statement.fail(
        f"expectation {name}: ON VIOLATION is DROP ROW or FAIL UPDATE",
        "leave it out to keep the row and count it",
    )


def _note_key(
    statement: Statement,  # Stands at PRIMARY KEY, FOREIGN KEY or REFERENCES
    specification: Specification,  # Takes it
    column: str,  # The column that it stands behind; empty for a key of the table
    name: str = "",  # The constraint's, if it has one
) -> None:
    "Note an informational key: Databricks checks it no more than this does."
    start = statement.at
    ends: tuple[str, ...] = (",", ")", "CONSTRAINT")
    if column:
        ends = (*ends, "COMMENT", "NOT NULL", "GENERATED", "DEFAULT", "MASK", *_TAGS)
    while statement.here.text and not statement.sees(*ends):
        if statement.sees("("):
            skip_bracket(statement)
        else:
            statement.next()
    text = spanned_text(statement, statement.words[start : statement.at])
    kind = "primary_key" if text.upper().startswith("PRIMARY") else "foreign_key"
    key = f"cdc.constraint.{name or '_'.join(filter(None, (column, kind)))}"
    while key in specification.notes:
        key += "_"
    specification.notes[key] = f"{column} {text}".strip()


def read_column(
    statement: Statement,  # A column comes next
    specification: Specification,  # Takes it
) -> None:
    "Read `name [type] [NOT NULL] [COMMENT '…'] [GENERATED … | DEFAULT …] [MASK …] [key]`."
    name = read_column_name(statement)
    statement.takes(":")
    start, depth = statement.at, 0
    while statement.here.text and (depth or not statement.sees(*_COLUMN_ENDS)):
        word = statement.next()
        depth += word.says("(", "<") - word.says(")", ">")
    kind = spanned_text(statement, statement.words[start : statement.at]) if statement.at > start else ""
    column = DeclaredColumn(name, kind)
    while not statement.sees(",", ")"):
        column = _read_column_part(statement, specification, column)
    if not column.type and (column.computed or column.identity):
        statement.fail(f"column {name} is computed and has no type", "write its type after its name")
    if any(each.name.lower() == name.lower() for each in specification.columns):
        statement.fail(f"column {name} is declared twice")
    specification.columns.append(column)


def read_column_name(
    statement: Statement,  # A column's name comes next
) -> str:  # Without backticks
    "Read one name; a dot belongs to it in backticks alone."
    word = statement.next()
    if word.kind not in ("word", "name", "number"):
        statement.at -= 1
        statement.fail("expected a column's name")
    return unquote(word.text)


def _read_column_part(
    statement: Statement,  # Stands behind a column's type or one of its parts
    specification: Specification,  # Takes keys, rules and notes
    column: DeclaredColumn,  # As far as it is read
) -> DeclaredColumn:  # With one part more
    "Read one property of a column."
    if statement.takes("NOT NULL"):
        return replace(column, not_null=True)
    if statement.takes("COMMENT"):
        return replace(column, comment=read_string(statement))
    if statement.takes("GENERATED"):
        column = _read_generated(statement, column)
        kind = "identity" if column.identity else "generated"
        specification.notes[f"cdc.{kind}.{column.name}"] = column.generated or _describe_identity(column)
    elif statement.takes("DEFAULT"):
        start = statement.at
        read_expression(statement, *_COLUMN_ENDS)
        column = replace(column, default=translate_words(statement, statement.words[start : statement.at]))
        specification.notes[f"cdc.default.{column.name}"] = str(column.default)
    elif statement.takes("CONSTRAINT"):
        read_constraint(statement, specification, column.name)
    elif statement.sees(*_KEYS):
        _note_key(statement, specification, column.name)
    elif statement.sees("MASK"):
        _note_mask(statement, specification, column.name)
    elif statement.sees(*_TAGS):
        note_tags(statement, specification, column.name)
    else:
        statement.fail("expected , or ) after a column")
    return column


def _read_generated(
    statement: Statement,  # Stands after GENERATED
    column: DeclaredColumn,  # As far as it is read
) -> DeclaredColumn:
    "Read `ALWAYS AS (expression)` or `ALWAYS | BY DEFAULT AS IDENTITY [(START WITH n INCREMENT BY n)]`."
    always = statement.takes("ALWAYS")
    if not always:
        statement.needs("BY DEFAULT")
    statement.needs("AS")
    if statement.takes("IDENTITY"):
        if column.type.upper() not in ("BIGINT", "LONG", ""):
            statement.fail(f"identity column {column.name} is {column.type}", "declare it as BIGINT")
        return replace(column, identity=_read_identity(statement, column.name, always))
    if not always:
        statement.fail(f"column {column.name}: BY DEFAULT goes with AS IDENTITY alone", "write ALWAYS AS (…)")
    return replace(column, generated=translate_words(statement, skip_bracket(statement)))


def _read_identity(
    statement: Statement,  # Stands after IDENTITY
    name: str,  # Of the column
    always: bool,  # Whether a query may not bring numbers
) -> Identity:
    "Read `[(START WITH n INCREMENT BY n)]`, either part first."
    numbers = {"START WITH": 1, "INCREMENT BY": 1}
    if statement.takes("("):
        while not statement.takes(")"):
            statement.takes(",")
            phrase = next((phrase for phrase in numbers if statement.takes(phrase)), None)
            if phrase is None:
                statement.fail("expected START WITH or INCREMENT BY")
            numbers[phrase] = _read_number(statement)
    if numbers["INCREMENT BY"] == 0:
        statement.fail(f"identity column {name}: INCREMENT BY is 0", "give another step")
    return Identity(numbers["START WITH"], numbers["INCREMENT BY"], always)


def _read_number(
    statement: Statement,  # A whole number comes next
) -> int:
    sign = -1 if statement.takes("-") else 1
    word = statement.next()
    if not word.text.isdigit():
        statement.at -= 1
        statement.fail("expected a whole number")
    return sign * int(word.text)


def _describe_identity(column: DeclaredColumn) -> str:
    identity = column.identity or Identity()
    when = "ALWAYS" if identity.always else "BY DEFAULT"
    return f"{when} START WITH {identity.start} INCREMENT BY {identity.step}"


def _note_mask(
    statement: Statement,  # Stands at MASK
    specification: Specification,  # Takes it
    column: str,  # The column
) -> None:
    "Read `MASK function [USING COLUMNS (…)]`."
    start = statement.at
    statement.needs("MASK")
    read_name_parts(statement)
    if statement.takes("USING COLUMNS"):
        skip_bracket(statement)
    specification.notes[f"cdc.mask.{column}"] = spanned_text(statement, statement.words[start : statement.at])
    specification.ignored.append(f"MASK of column {column}")


def note_tags(
    statement: Statement,  # Stands at TAGS or WITH TAGS
    specification: Specification,  # Takes them
    column: str = "",  # The column; empty for the table
) -> None:
    "Read `[WITH] TAGS (…)`."
    statement.takes("WITH")
    statement.needs("TAGS")
    key = ".".join(filter(None, ("cdc.tags", column)))
    specification.notes[key] = spanned_text(statement, skip_bracket(statement))
    specification.ignored.append(f"TAGS of column {column}" if column else "TAGS")


def declared_schema(
    specification: Specification,  # What was read
) -> TableSchema | None:  # None where no column says anything
    "The columns of a bracket, as `Dataset.schema` has them."
    says = any(column.type or column.comment or column.not_null for column in specification.columns)
    return TableSchema(tuple(specification.columns)) if says else None
