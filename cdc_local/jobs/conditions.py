"""`condition_task`: compares two values; its outcome, `true` or `false`, decides which tasks after it run."""

import operator
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from cdc_local.errors import UsageError

_OF_TEXTS: dict[str, Callable[[str, str], bool]] = {"EQUAL_TO": operator.eq, "NOT_EQUAL": operator.ne}

_OF_NUMBERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
}

OUTCOMES = ("true", "false")


def check_condition(
    task: dict[str, Any],  # With a `condition_task`
) -> None:
    "Raise `UsageError` for an operator that there is not."
    op = task["condition_task"].get("op")
    if op not in (*_OF_TEXTS, *_OF_NUMBERS):
        raise UsageError(
            f"task {task['task_key']}: op {op!r} compares nothing",
            hint=f"there are {', '.join([*_OF_TEXTS, *_OF_NUMBERS])}",
        )


def decide(
    task: dict[str, Any],  # With a `condition_task` that is checked, and whose references are filled in
) -> str:  # `true` or `false`
    "Compare: texts for equality, numbers for order; `UsageError` for an operand that is no number."
    condition = task["condition_task"]
    op, left, right = (str(condition[part]) for part in ("op", "left", "right"))
    if op in _OF_TEXTS:
        return OUTCOMES[not _OF_TEXTS[op](left, right)]
    numbers = [_read_number(task["task_key"], op, text) for text in (left, right)]
    return OUTCOMES[not _OF_NUMBERS[op](*numbers)]


def _read_number(
    task_key: str,  # The task
    op: str,  # Compares numbers
    text: str,  # An operand
) -> Decimal:
    "Read an operand; `UsageError` for one that is no number."
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_nan():
        raise UsageError(
            f"task {task_key}: {text!r} is no number, and {op} compares numbers",
            hint="EQUAL_TO and NOT_EQUAL compare texts",
        )
    return number
