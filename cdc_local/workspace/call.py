"""A call of the workspace: what it asks of whom, and what a function that answers it looks like."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.local_workspace import Workspace
from cdc_local.workspace.values import check_objects


@dataclass(frozen=True)
class Call:
    "What was asked of the workspace; a value that is missing or of another kind is named by `CallError`."

    workspace: Workspace  # Who answers
    values: Mapping[str, Any]  # Parts of the path, the query and the body, by name
    body: dict[str, Any] = field(default_factory=dict)  # The body alone

    def text(
        self,
        name: str,  # Which value
        default: str | None = None,  # Where it is missing; None: it must be there
    ) -> str:
        "Read a text; a number counts as one."
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be given as a text")
        return str(value)

    def flag(
        self,
        name: str,  # Which value
    ) -> bool:  # False where it is missing
        "Read a switch."
        return str(self.values.get(name, "")).lower() == "true"

    def number(
        self,
        name: str,  # Which value
        default: int | None = None,  # Where it is missing; None: it must be there
    ) -> int:
        "Read a number; digits count as one."
        text = self.text(name, None if default is None else str(default))
        if not text.isdecimal() or not text.isascii():
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {text!r}; it must be a number")
        return int(text)

    def objects(
        self,
        name: str,  # Which part of the body
    ) -> list[dict[str, Any]]:  # Empty where it is missing
        "Read a list of objects."
        return check_objects(name, self.body.get(name) or [])

    def page(
        self,
        name: str,  # What the list is called in the answer
        items: list[Any],  # The full list
        size: str = "max_results",  # Value that says how many items are wanted
        default_size: int = 100,  # How many by default; at most 1,000
    ) -> dict[str, Any]:  # The list's part, and `next_page_token` where more follows
        "Answer with the part of a list that was asked for."
        begin = self.number("page_token", 0) or self.number("offset", 0)
        count = min(max(self.number(size, default_size) or default_size, 1), 1000)
        answer: dict[str, Any] = {name: items[begin : begin + count]}
        if len(items) > begin + count:
            answer["next_page_token"] = str(begin + count)
        return answer


Answer = dict[str, Any] | Response | None  # JSON object, a response of its own, or nothing: {}

Handler = Callable[[Call], Answer]  # Answers a call; raises `CallError` to refuse it

CallTable = Mapping[str, Handler]  # Method and path, as `GET /api/2.0/pipelines/{pipeline_id}` -> who answers
