"""Questions to both engines, and whether they give the same."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine_answers import WRONG_CALL, Engine

# Their answers are the moment's: types are compared, and what they say is not
CLOCKS = {"current_date", "curdate", "current_timestamp", "now", "localtimestamp", "unix_timestamp"}

Verdict = tuple[str, str]  # `same`, `refused`, `differs` or `no call`, and how it differs


@dataclass(frozen=True)
class Case:
    "A question to both engines, and which call of which function it is about."

    function: str
    types: str  # of its arguments, as `(int, string)`; empty where they can't be read
    sql: str  # a query, or a call of `a`, `b` … over the rows
    rows: tuple[tuple[str, ...], ...] = ()  # values of `a`, `b` … as SQL writes them
    aggregates: bool = False  # rows are one group


def over_values(call: str, rows: Iterable[tuple[str, ...]]) -> str:
    "Write a call over some rows."
    rows = list(rows)
    names = "abcdefgh"[: len(rows[0])]
    listed = ", ".join(f"({', '.join(row)})" for row in rows)
    return f"SELECT {call} AS r FROM VALUES {listed} AS t({', '.join(names)})"


def with_values(call: str, row: tuple[str, ...]) -> str:
    "Write a call over one row, its values in their places."
    return re.sub(r"§([a-h])", lambda found: row["abcdefgh".index(found.group(1))], call)


def judge_query(case: Case, spark: Engine, sail: Engine) -> Verdict:
    "Ask both engines a query."
    sql = case.sql
    if case.aggregates:
        sql = over_values(case.sql.replace("§", ""), case.rows)
    right = spark.ask(sql)
    if right.get("error") in WRONG_CALL:  # of the documentation, too: one that needs another setting
        return "no call", ""
    left = sail.ask(sql)
    right, left = (
        one if "error" in one else {"type": ", ".join(one["types"]), "value": one["rows"]}
        for one in (right, left)
    )
    return compare(case, sql, right, left)


def judge_rows(
    case: Case,
    right: list[dict],  # Spark's answers, one a row
    sail: Engine,
    asked: dict | None = None,  # Sail's answer over columns, if it was asked
) -> Verdict:
    "Compare Spark's answers for each row with those of Sail over a column, and over values by themselves."
    if all(one.get("error") in WRONG_CALL for one in right):
        return "no call", ""
    call = case.sql.replace("§", "")
    batch = sail.ask(over_values(call, case.rows)) if asked is None else asked
    if asked is not None:
        left = [{"type": asked["type"], "value": value} for value in asked["value"]]
    elif "error" in batch:
        column = [sail.ask(over_values(call, [row])) for row in case.rows]
        left = [
            one if "error" in one else {"type": one["types"][0], "value": one["rows"][0][0]} for one in column
        ]
    else:
        left = [{"type": batch["types"][0], "value": row[0]} for row in batch["rows"]]
    written_out = [with_values(case.sql, row) for row in case.rows]
    verdict = worst(
        compare(case, f"{call} of {', '.join(row)}", one, other)
        for row, one, other in zip(case.rows, right, left, strict=True)
    )
    if verdict[0] != "same":
        return verdict
    alone = sail.ask([written_out])[0]
    return worst(
        compare(case, text, one, other) for text, one, other in zip(written_out, right, alone, strict=True)
    )


RANKS = ("no call", "same", "refused", "differs")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    "The first of the worst."
    return max(verdicts, key=lambda verdict: RANKS.index(verdict[0]))


def compare(case: Case, text: str, right: dict, left: dict) -> Verdict:
    "Compare two answers."
    text = " ".join(text.split())[:120]
    if right.get("unread") or left.get("unread"):
        return "differs", f"{text}: an answer can't be read, {right.get('error') or left.get('error')}"
    if "error" in right and "error" in left:
        return "same", ""
    if "error" in left:
        return "refused", f"{text}: {left['says'][:80]}".replace("\n", " ")
    if "error" in right:
        return "differs", f"{text}: Spark raises {right['error']}, Sail answers {short(left['value'])}"
    if right["type"] != left["type"]:
        return "differs", f"{text}: Spark gives {right['type']}, Sail {left['type']}"
    if right["value"] == left["value"] or case.function in CLOCKS:
        return "same", ""
    return "differs", f"{text}: Spark gives {short(right['value'])}, Sail {short(left['value'])}"


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 60 else f"{text[:57]}…"


def judge(cases: list[Case], spark: Engine, sail: Engine) -> Iterator[tuple[Case, tuple[str, str]]]:
    "The verdict on each case."
    scalar = [case for case in cases if case.rows and not case.aggregates]
    groups = [[with_values(case.sql, row) for row in case.rows] for case in scalar]
    answers = dict(zip(scalar, spark.ask(groups) if groups else [], strict=True))
    for case in cases:
        yield (
            case,
            judge_rows(case, answers[case], sail) if case in answers else judge_query(case, spark, sail),
        )
