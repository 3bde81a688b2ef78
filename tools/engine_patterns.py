"""Calls that take any type are asked with one type after the other."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine_answers import WRONG_CALL, Engine, report
from engine_shapes import Instance, Shape, instances, instantiate, values_of
from engine_verdicts import KNOWN_RANKS, Case, Verdict, compare, judge_rows, with_values, worst

from cdc_local.engines.known.listed import parts_of

KINDS = ("one", "few", "decimals", "orderable", "all")  # those that are asked soon are asked first
MOST_FORMS = 12  # of windows in a query, each of which sorts anew

QUERIES = {
    "rows": "SELECT i, {} FROM t",
    "window": "SELECT i, {} FROM t ORDER BY i",
    "group": "SELECT g, {} FROM t GROUP BY g ORDER BY g",
}


def shape_cases(shape: Shape, instance: Instance) -> list[Case]:
    "The forms of a shape, of a type."
    columns = [instantiate(part, instance.kind) for part in shape.columns]
    rows = (*combine([values_of(column) for column in columns]), *((value,) for value in shape.values))
    forms = [form.replace("§A", columns[0].simpleString()) for form in shape.forms]
    types = shape.signature(instance).removeprefix(shape.name)
    return [Case(shape.name, types, form, rows) for form in forms]


def combine(values: list[list[str]]) -> list[tuple[str, ...]]:
    "Combine values of several columns, each with several of the others."
    count, rounds = max(map(len, values)), 1 if len(values) == 1 else 2
    return list(
        dict.fromkeys(
            tuple(column[(row + turn * place) % len(column)] for place, column in enumerate(values))
            for turn in range(rounds)
            for row in range(count)
        )
    )


def table_of(rows: Iterable[tuple[str, ...]]) -> str:
    "Rows as a table `t`: `i` numbers them, `g` tells two groups, `a`, `b` … are their values."
    rows = list(rows)
    listed = ", ".join(f"({at}, {at % 2}, {', '.join(row)})" for at, row in enumerate(rows))
    letters = ", ".join("abcdefgh"[: len(rows[0])])
    return f"WITH t AS (SELECT * FROM VALUES {listed} AS t(i, g, {letters})) "


def ask_forms(engine: Engine, over: str, cases: list[Case]) -> list[dict]:
    "Ask forms over one table: all in one query, one by one where that fails."
    if len(cases) > MOST_FORMS and over == "window":
        return ask_forms(engine, over, cases[:MOST_FORMS]) + ask_forms(engine, over, cases[MOST_FORMS:])
    table = table_of(cases[0].rows * (1 if over == "rows" else 2))  # repeated, for groups
    forms = [case.sql.replace("§", "") for case in cases]
    if over in ("query", "order"):
        return [ask_rows(engine, table + form, over == "order") for form in forms]
    if over == "python":
        program = f"spark.sql({table + 'SELECT * FROM t'!r}).select('i', ({{}}).alias('r'))"
        return [ask_rows(engine, {"program": program.format(form)}) for form in forms]
    listed = ", ".join(f"{form} AS c{at}" for at, form in enumerate(forms))
    answer = engine.ask(table + QUERIES[over].format(listed))
    if "error" not in answer:
        columns = list(zip(*sorted(answer["rows"], key=lambda row: row[0]), strict=True))[1:]
        return [
            {"type": kind, "value": list(column)}
            for kind, column in zip(answer["types"][1:], columns, strict=True)
        ]
    if len(cases) == 1:
        return [answer]
    half = len(cases) // 2
    return ask_forms(engine, over, cases[:half]) + ask_forms(engine, over, cases[half:])


def ask_rows(engine: Engine, question: object, in_order: bool = False) -> dict:
    "Ask a query by itself."
    answer = engine.ask(question)
    if "error" in answer:
        return answer
    rows = list(map(json.dumps, answer["rows"]))
    return {"type": ", ".join(answer["types"]), "value": rows if in_order else sorted(rows)}


def judge_form(case: Case, right: dict, left: dict, spark: Engine, sail: Engine) -> Verdict:
    "Compare a form over columns, row by row where an engine raised; then over the values by themselves."
    if right.get("error") in WRONG_CALL:
        return "no call", ""
    if "error" in right:
        texts = [with_values(case.sql, row) for row in case.rows]
        each = spark.ask([texts])[0]
    else:
        each = [{"type": right["type"], "value": value} for value in right["value"]]
    return judge_rows(case, each, sail, None if "error" in left else left)


def judge_forms(over: str, cases: list[Case], spark: Engine, sail: Engine) -> list[tuple[str, str]]:
    "The verdict on each of some forms over the same rows."
    if over == "rows":
        answers = zip(ask_forms(spark, over, cases), ask_forms(sail, over, cases), strict=True)
        return [
            judge_form(case, right, left, spark, sail)
            for case, (right, left) in zip(cases, answers, strict=True)
        ]
    found = []
    for case, right, left in zip(
        cases, ask_forms(spark, over, cases), ask_forms(sail, over, cases), strict=True
    ):
        no_call = right.get("error") in WRONG_CALL
        found.append(("no call", "") if no_call else compare(case, f"{case.sql} {case.types}", right, left))
    return found


@dataclass
class Asked:
    "What is known of a shape so far."

    shape: Shape
    good: set[str] = field(default_factory=set)  # Parts of types that agreed
    blamed: set[str] = field(default_factory=set)  # Parts that did not

    def takes(self, instance: Instance) -> bool:
        "Whether nothing that a type is made of is off the shape."
        return not parts_of(instance.kind) & self.blamed

    def note(self, instance: Instance, verdict: Verdict) -> None:
        "Note what was found of a type."
        if verdict[0] not in KNOWN_RANKS:
            self.blamed |= {instance.new, f"<{instance.new}>" if instance.new[0] != "<" else instance.new}
            return
        for part in self.shape.general:
            self.good |= parts_of(instantiate(part, instance.kind))

    @property
    def made_of(self) -> list[str] | None:  # None where the shape is not known at all
        "What the types of the shape may be made of."
        found = self.good - self.blamed
        if not found and (self.shape.general or self.blamed):
            return None
        return sorted(found | ({"void"} if self.shape.void else set()))


def judge_shapes(
    over: str, shapes: list[Shape], instance: Instance, spark: Engine, sail: Engine
) -> dict[Shape, tuple[str, str]]:
    "The verdict on some shapes of a type: the worst of their forms."
    cases = [(shape, case) for shape in shapes for case in shape_cases(shape, instance)]
    found: dict[Shape, list[tuple[str, str]]] = defaultdict(list)
    tables: dict[tuple, list[tuple[Shape, Case]]] = defaultdict(list)
    for shape, case in cases:
        tables[case.rows].append((shape, case))
    for group in tables.values():
        verdicts = judge_forms(over, [case for _, case in group], spark, sail)
        for (shape, _), verdict in zip(group, verdicts, strict=True):
            found[shape].append(verdict)
    return {
        shape: ("no call", "") if any(one[0] == "no call" for one in all_of) else worst(all_of)
        for shape, all_of in found.items()
    }


def find_patterns(
    shapes: list[Shape], spark: Engine, sail: Engine
) -> Iterator[tuple[dict[str, list[str]], dict[str, Verdict]]]:
    """Ask shapes, a type after the other: what a type has that the ones before had not is to blame.

    Now and then: what patterns may be made of, and the calls that are not the same."""
    for kinds in sorted({shape.kinds for shape in shapes}, key=KINDS.index):
        asked = [Asked(shape) for shape in shapes if shape.kinds == kinds]
        verdicts: dict[str, Verdict] = {}
        for instance in instances(kinds):
            report(f"  {kinds}: {instance.kind.simpleString()}")
            for over in ("rows", "window", "group", "query", "order", "python"):
                mine = [one for one in asked if one.shape.over == over and one.takes(instance)]
                found = judge_shapes(over, [one.shape for one in mine], instance, spark, sail)
                for one in mine:
                    one.note(instance, found[one.shape])
                    if found[one.shape][0] not in ("same", "no call"):
                        verdicts[one.shape.signature(instance)] = found[one.shape]
        known = {one.shape.pattern: one.made_of for one in asked if one.made_of is not None}
        yield known, verdicts
