"""Questions to both engines, and whether they give the same."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine_answers import SILENT, WRONG_CALL, Engine

# Their answers are the moment's: types are compared, and what they say is not
CLOCKS = {"current_date", "curdate", "current_timestamp", "now", "localtimestamp", "unix_timestamp"}

# From the best to the worst. `raises`: Sail does for some values, and is the same for others
RANKS = ("no call", "same", "raises", "refused", SILENT, "differs")
KNOWN_RANKS = ("same", "raises")  # Nothing differs in silence: what Sail raises at is run on Spark

Verdict = tuple[str, str]  # One of `RANKS`, and how it differs

MOST_EXPRESSIONS = 150  # of a query: where one of them raises, its halves are asked


@dataclass(frozen=True)
class Case:
    "A question to both engines, and which call of which function it is about."

    function: str
    types: str  # of its arguments, as `(int, string)`; empty where they can't be read
    sql: str  # a query, or a call of `a`, `b` … over the rows
    rows: tuple[tuple[str, ...], ...] = ()  # values of `a`, `b` … as SQL writes them
    aggregates: bool = False  # rows are one group

    @property
    def signature(self) -> str:
        "The call, with types."
        return self.function + (self.types or "(?)")


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
        left = ask_each(case, call, right, sail)
    else:
        left = [{"type": batch["types"][0], "value": row[0]} for row in batch["rows"]]
    written_out = [with_values(case.sql, row) for row in case.rows]
    texts = [f"{call} of {', '.join(row)}" for row in case.rows]
    verdict = compare_all(case, texts, right, left)
    if verdict[0] not in KNOWN_RANKS:
        return verdict
    return worst([verdict, compare_all(case, written_out, right, sail.ask([written_out])[0])])


def ask_each(case: Case, call: str, right: list[dict], sail: Engine) -> list[dict]:
    "Sail's answers row by row, until one differs."
    found = []
    for row, one in zip(case.rows, right, strict=True):
        answer = sail.ask(over_values(call, [row]))
        if "error" not in answer:
            answer = {"type": answer["types"][0], "value": answer["rows"][0][0]}
        found.append(answer)
        if compare(case, call, one, answer)[0] == "differs":
            break
    return found


def compare_all(case: Case, texts: list[str], right: list[dict], left: list[dict]) -> Verdict:
    "Compare answers to a call as far as Sail was asked: what it answers for some rows is not refused."
    verdicts = [compare(case, *answers) for answers in zip(texts, right, left, strict=False)]
    found = worst(verdicts)
    answered = any("error" not in one and one["value"] is not None for one in left)
    return ("raises", found[1]) if found[0] == "refused" and answered else found


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    "The first of the worst."
    return max(verdicts, key=lambda verdict: RANKS.index(verdict[0]))


def both(before: Verdict | None, verdict: Verdict) -> Verdict:
    "The verdict on two cases of a call: one that Sail answers is not refused."
    found = worst([before or verdict, verdict])
    other = before if found is verdict else verdict
    if found[0] == "refused" and other and other[0] in KNOWN_RANKS:
        return "raises", found[1] or other[1]
    return found


def compare(case: Case, text: str, right: dict, left: dict) -> Verdict:
    "Compare two answers."
    text = " ".join(text.split())[:120]
    if SILENT in (right.get("error"), left.get("error")):
        return SILENT, f"{text}: {'Spark' if right.get('error') == SILENT else 'Sail'} gives no answer"
    if left.get("error") == "died":
        return "differs", f"{text}: Sail ends, and the process with it"
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
    if right["value"] == left["value"] or tells_the_moment(case):
        return "same", ""
    return "differs", f"{text}: Spark gives {short(right['value'])}, Sail {short(left['value'])}"


def tells_the_moment(case: Case) -> bool:
    "Whether a call is one of a clock: `unix_timestamp()` is, of a text it is not."
    alone = re.fullmatch(rf"(?i)(select\s+)?{re.escape(case.function)}(\(\s*\))?", case.sql.strip())
    return case.function in CLOCKS and alone is not None


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 60 else f"{text[:57]}…"


def judge(cases: list[Case], spark: Engine, sail: Engine) -> Iterator[tuple[Case, Verdict]]:
    "The verdict on each case; those over rows are asked of Spark in one query."
    scalar = [case for case in cases if case.rows and not case.aggregates]
    groups = [[with_values(case.sql, row) for row in case.rows] for case in scalar]
    answers = dict(zip(scalar, spark.ask(groups) if groups else [], strict=True))
    for case in cases:
        yield (
            case,
            judge_rows(case, answers[case], sail) if case in answers else judge_query(case, spark, sail),
        )


def batches(cases: list[Case]) -> Iterator[list[Case]]:
    "Some cases at a time: where an expression raises, halves of the query are asked."
    some, count = [], 0
    for case in cases:
        if some and count + len(case.rows) > MOST_EXPRESSIONS:
            yield some
            some, count = [], 0
        some.append(case)
        count += len(case.rows)
    if some:
        yield some
