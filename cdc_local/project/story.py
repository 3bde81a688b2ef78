"""The unit tests of a new project: a story of one row, a record of the sample, and one that is no change."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.project.kinds import KINDS, PLAIN, SNAPSHOTS
from cdc_local.project.plan import Plan
from cdc_local.project.sample import Record
from cdc_utils.envelopes.changes import type_name

LANDING = "/Volumes/${{cdc.catalog}}/${{cdc.schema}}/raw_data/{table}"  # As a unit test spells it
DAYS = [f"2026-01-0{day}" for day in range(1, 5)]
TEXTS = ("first", "second", "third", "fourth")
NUMBERS = (1, 2, 3, 4)
MADE_UP: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT", "LONG", "DECIMAL"), NUMBERS),
    **dict.fromkeys(("FLOAT", "DOUBLE"), (1.5, 2.5, 3.5, 4.5)),
    "STRING": TEXTS,
    "DATE": tuple(DAYS),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_NTZ"), tuple(f"{day} 08:00:00" for day in DAYS)),
}  # Type to four values, in their order
UNKNOWN = {"dms": "Op", "sqlserver": "__$operation", "cdf": "_change_type"}  # Where CSV names an operation


@dataclass(frozen=True)
class Step:
    "What arrives, and what the table holds afterwards."

    given: tuple["Given", ...]
    expected: tuple[Record, ...]
    is_late: bool = False  # Whether what arrives is older than what was there


@dataclass(frozen=True)
class Given:
    "Rows that arrive, or a file without rows."

    place: str  # `table: …` or `path: …`
    rows: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Test:
    "One unit test: of steps, or of a text that lands."

    name: str
    model: str  # The table that it looks at
    steps: tuple[Step, ...] = ()
    path: str = ""  # File that lands
    lines: tuple[str, ...] = ()  # Its text
    expected: tuple[Record, ...] = ()


def write_tests(
    plan: Plan,  # What the project is about
) -> list[Test]:  # At least one wherever the table has a column for a story
    "Write the unit tests of a project."
    if plan.kind == SNAPSHOTS:
        return list(_snapshot_story(plan))
    tests = list(_story(plan))
    if plan.kind != PLAIN and plan.sample and plan.sample.texts:
        tests += _sample_tests(plan)
    return tests


# A story


def _make_up(
    sql_type: str,  # Of a column
    number: int,  # 0 to 3: a later one is higher
) -> Any:  # None where no value is made up for the type
    "Make up a value."
    return MADE_UP.get(type_name(sql_type), (None,) * 4)[number]


def _row(
    plan: Plan,  # What the project is about
    number: int | None,  # Of the value; None: the key alone
) -> Record:  # Of one key, always the same
    "Make up a row."
    row = _key(plan, 0)
    told = _told_column(plan)
    return row if number is None or told is None else row | {told: _make_up(plan.columns[told], number)}


def _key(
    plan: Plan,  # What the project is about
    number: int,  # Which one
) -> Record:
    "Make up a key; a text is a number."
    kinds = {name: plan.columns[name] for name in plan.keys}
    return {
        name: str(number + 1) if kind == "string" else _make_up(kind, number) for name, kind in kinds.items()
    }


def _told_column(plan: Plan) -> str | None:
    "The first column beside the key for which values can be made up; texts first."
    others = [name for name in plan.columns if name not in plan.keys]
    others.sort(key=lambda name: plan.columns[name] != "string")
    return next((name for name in others if _make_up(plan.columns[name], 0) is not None), None)


def _place(
    plan: Plan,  # What the project is about
    number: int,  # Of the change
    is_delete: bool = False,
) -> Any:  # Its sequence
    "Make up a place in the order."
    if plan.source is None:
        return _make_up(plan.types[str(plan.sequence)], number)
    parts = plan.source.envelope.order.items()
    values = {
        name: f"{number + 1:020d}" if kind == "string" else _make_up(kind, number)
        for name, (_, kind) in parts
    }
    return values | {"rank": 1 if is_delete else 2}


def _change(
    plan: Plan,  # What the project is about
    number: int,  # Of the change
    is_delete: bool = False,
) -> Record:  # A row of the table of changes
    "Make up a change."
    row, place = _row(plan, None if is_delete else number), _place(plan, number, is_delete)
    if plan.source is not None:
        return row | {"operation": "delete" if is_delete else "update", "sequence": place}
    others = [name for name in plan.operations if name != plan.deletes]
    operation = plan.deletes if is_delete else (others or ["UPDATE"])[-1]
    return row | ({plan.operation: operation} if plan.operation else {}) | {str(plan.sequence): place}


def _story(plan: Plan) -> Iterator[Test]:
    "Tell how a row lives: a change that is late, and a delete, if there are any."
    if any(_make_up(plan.columns[name], 0) is None for name in plan.keys) or _told_column(plan) is None:
        return
    place = f"table: {plan.table}_changes"
    has_deletes = plan.source is not None or plan.operation is not None
    steps = [
        Step((Given(place, (_change(plan, 0), _change(plan, 2))),), (_row(plan, 2),)),
        Step((Given(place, (_change(plan, 1),)),), (_row(plan, 2),), is_late=True),
    ]
    if has_deletes:
        steps.append(Step((Given(place, (_change(plan, 3, True),)),), ()))
    ending = ", and a delete removes the row" if has_deletes else ""
    yield Test(f"a late change does not undo a newer one{ending}", plan.table, tuple(steps))
    if plan.has_history:
        yield _history_test(plan, place, has_deletes)


def _history_test(plan: Plan, place: str, has_deletes: bool) -> Test:
    end = _place(plan, 3, True) if has_deletes else None
    times = [*(_place(plan, number) for number in range(3)), end]
    versions = [
        _row(plan, number) | {"__START_AT": times[number], "__END_AT": times[number + 1]}
        for number in range(3)
    ]
    last = (_change(plan, 3, True),) if has_deletes else ()
    steps = (
        Step(
            (Given(place, (_change(plan, 2), _change(plan, 0))),),
            (
                versions[0] | {"__END_AT": times[2]},
                versions[2] | {"__END_AT": None},
            ),
        ),
        Step((Given(place, (_change(plan, 1), *last)),), tuple(versions), is_late=True),
    )
    ending = ", and a delete ends the history" if has_deletes else ""
    return Test(f"a late change finds its place{ending}", f"{plan.table}_history", steps)


def _snapshot_story(plan: Plan) -> Iterator[Test]:
    "Tell of two snapshots, and of one that is not whole."
    if plan.format == "parquet":
        raise UsageError(
            "snapshots in Parquet: the files of unit tests are JSON or CSV, so no test can be written",
            hint="give a sample of the same table in JSON or CSV, then change the reader to parquet",
        )
    if any(_make_up(plan.columns[name], 0) is None for name in plan.keys):
        return
    landing = LANDING.format(table=plan.table)

    def snapshot(day: str, *rows: Record) -> tuple[Given, ...]:
        given = [Given(f"path: {landing}/{day}/rows.{plan.format}", rows)]
        if plan.marker:
            given.append(Given(f"path: {landing}/{day}/{plan.marker}"))
        return tuple(given)

    first = _row(plan, 0)
    second = _key(plan, 1)
    steps = (
        Step(snapshot(DAYS[0], first, second), (first, second)),
        Step(snapshot(DAYS[1], _row(plan, 1)), (_row(plan, 1),)),
    )
    yield Test("what a snapshot lacks is deleted, what it has is the row", plan.table, steps)


# Records of the sample


def _sample_tests(plan: Plan) -> Iterator[Test]:
    "Let one record of the sample land, and one that is no change."
    assert plan.sample is not None and plan.source is not None
    path = f"{LANDING.format(table=plan.table)}/1.{plan.format}"
    header = (plan.sample.header,) if plan.sample.header else ()
    found = _good_record(plan)
    if found is not None:
        text, row = found
        name = "a record of the sample is a change"
        yield Test(name, f"{plan.table}_changes", (), path, (*header, text), (row,))
    title = plan.source.envelope.name
    if plan.format == "json":
        reason, line = f"no operation: this is no change as {title} writes it", "{}"
    elif plan.kind in UNKNOWN and found is not None:
        code = "9" if plan.kind == "sqlserver" else "X"
        known = ", ".join(plan.source.envelope.operations)
        reason = f"the operation {code} is none of {title}: {known}"
        line = _with_cell(plan.sample.header, found[0], UNKNOWN[plan.kind], code)
    else:
        return
    row = {"problems": [reason]}
    name = "what is no change is set aside, with the reason"
    yield Test(name, f"{plan.table}_quarantine", (), path, (*header, line), (row,))


def _good_record(
    plan: Plan,  # What the project is about
) -> tuple[str, Record] | None:  # Its text; its key and operation. None where none will do
    "Find a record of one change, with a key, of an operation that is known."
    assert plan.sample is not None and plan.source is not None
    kind = KINDS[plan.kind]
    wanted = ("insert", "read", "update", "delete")
    found: dict[str, tuple[str, Record]] = {}
    for text, record in zip(plan.sample.texts, plan.sample.records, strict=True):
        changes = kind.explode(record) if kind.shows(record) else []
        if len(changes) != 1 or plan.source_table not in (None, kind.table(changes[0])):
            continue
        values = kind.values(changes[0]) or {}
        operation = plan.source.envelope.operations.get(str(kind.code(changes[0])))
        key = {name: values.get(name) for name in plan.keys}
        if operation in wanted and all(_is_plain(value) for value in key.values()):
            typed = {name: _as_number(plan.columns[name], value) for name, value in key.items()}
            found.setdefault(operation, (text, typed | {"operation": _landed(plan, operation, record)}))
    return next((found[operation] for operation in wanted if operation in found), None)


def _landed(plan: Plan, operation: str, record: Record) -> str:
    "A row of DMS without a place in the order is one of the full load, whatever its letter says."
    if plan.kind == "dms" and operation == "insert" and plan.envelope is not None:
        column = (plan.envelope.arguments or {}).get("change_seq", "change_seq")
        return "read" if column is not None and not record.get(column) else "insert"
    return operation


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _as_number(
    sql_type: str,  # Of the column
    value: Any,  # As the sample has it
) -> Any:  # As a unit test has it
    "Take a whole number out of its text."
    return int(value) if type_name(sql_type) in ("SMALLINT", "INT", "BIGINT") else value


def _with_cell(header: str, line: str, column: str, value: str) -> str:
    names, cells = (next(csv.reader([text])) for text in (header, line))
    cells[names.index(column)] = value
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()


def flow(
    value: Any,  # A row, or a part of one
) -> str:  # YAML, on one line
    "Write a value as YAML does in a line."
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_spell(name)}: {flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _spell(name: str) -> str:
    return name if name.replace("_", "").isalnum() and not name.isdigit() else json.dumps(name)
