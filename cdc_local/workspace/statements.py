"""Statements that clients sent: each in a thread, its state and rows kept until the server ends."""

import json
import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc_local.analysis.sql_statement import SqlRequest
from cdc_local.errors import PipelineError
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.values import check_objects
from cdc_local.workspace.warehouse import Warehouse

_ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "CLOSED")

_KEPT = 100  # Statements whose rows are kept: the newest

_LONGEST_WAIT, _SHORTEST_WAIT, _WAIT = 50, 5, "10s"  # Seconds that a call may wait; 0 does not wait


@dataclass
class SentStatement:
    "A statement, how far it is, and what it gave."

    id: str  # As the API names it
    request: SqlRequest  # What to run
    folder: Path  # Its rows, a file for each chunk
    state: str = "PENDING"  # PENDING, RUNNING, or one of `_ENDED`
    answer: dict[str, Any] = field(default_factory=dict)  # As `SqlProcess.ask` answers
    stop: threading.Event = field(default_factory=threading.Event)  # Set when it is canceled


class Statements:
    "The statements of a warehouse."

    def __init__(
        self,
        warehouse: Warehouse,  # Answers them
    ) -> None:
        self.warehouse = warehouse
        self.folder = warehouse.storage.root / "workspace" / "statements"
        self.changed = threading.Condition()
        self._turn = threading.Lock()  # Of the statement that is answered
        self._all: dict[str, SentStatement] = {}
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(
        self,
        body: dict[str, Any],  # As the API takes it
    ) -> dict[str, Any]:  # As the API answers
        "Start a statement, and wait for it as long as the call says; `CallError` for a call that is wrong."
        request, seconds = read_request(body), read_wait(body.get("wait_timeout", _WAIT))
        key = str(uuid.uuid4())
        statement = SentStatement(key, request, self.folder / key)
        with self.changed:
            self._forget_oldest()
            self._all[key] = statement
            threading.Thread(
                target=self._run, args=(statement,), name=f"statement-{key}", daemon=True
            ).start()
            self.changed.wait_for(lambda: statement.state in _ENDED, seconds)
            if seconds and statement.state not in _ENDED and body.get("on_wait_timeout") == "CANCEL":
                self._cancel(statement)
            return self._describe(statement)

    def get(
        self,
        key: str,  # Its id
    ) -> dict[str, Any]:  # As the API answers
        "Describe a statement, with its first rows once there are any."
        with self.changed:
            return self._describe(self._find(key))

    def chunk(
        self,
        key: str,  # Id of a statement
        number: int,  # Of the chunk, counted from 0
    ) -> dict[str, Any]:  # As the API answers
        "Read the rows of a chunk; `CallError` where there is none."
        with self.changed:
            return self._chunk(self._find(key), number)

    def cancel(
        self,
        key: str,  # Its id
    ) -> None:
        "Cancel a statement; nothing happens to one that has ended."
        with self.changed:
            self._cancel(self._find(key))

    def close(self) -> None:
        "Cancel what runs, and forget all rows."
        with self.changed:
            for statement in self._all.values():
                self._cancel(statement)
        self.warehouse.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _find(self, key: str) -> SentStatement:
        if key not in self._all:
            raise CallError("RESOURCE_DOES_NOT_EXIST", f"The statement {key} was not found.")
        return self._all[key]

    def _forget_oldest(self) -> None:
        "Make room for another statement."
        ended = [statement for statement in self._all.values() if statement.state in _ENDED]
        for statement in ended[: max(len(self._all) - _KEPT + 1, 0)]:
            shutil.rmtree(statement.folder, ignore_errors=True)
            del self._all[statement.id]

    def _cancel(self, statement: SentStatement) -> None:
        if statement.state in _ENDED:
            return
        was_running, statement.state = statement.state == "RUNNING", "CANCELED"
        statement.stop.set()
        if was_running:
            self.warehouse.interrupt()
        self.changed.notify_all()

    def _run(self, statement: SentStatement) -> None:
        "Answer a statement in its turn, and note how it ended."
        with self._turn:
            self._set(statement, "RUNNING")
            try:
                answer = self.warehouse.answer(statement.request, statement.folder, statement.stop)
            except PipelineError as error:
                answer = {"error": str(error)}
            self._set(statement, "FAILED" if "error" in answer else "SUCCEEDED", answer)

    def _set(self, statement: SentStatement, state: str, answer: Mapping[str, Any] | None = None) -> None:
        "Note how far a statement is, unless it was canceled."
        with self.changed:
            if statement.state not in _ENDED:
                statement.state, statement.answer = state, dict(answer or {})
            self.changed.notify_all()

    def _describe(self, statement: SentStatement) -> dict[str, Any]:
        status: dict[str, Any] = {"state": statement.state}
        if "error" in statement.answer:
            status["error"] = {"error_code": "BAD_REQUEST", "message": statement.answer["error"]}
            status |= {part: statement.answer[part] for part in ("sql_state",) if part in statement.answer}
        view: dict[str, Any] = {"statement_id": statement.id, "status": status}
        if statement.state == "SUCCEEDED":
            view |= {"manifest": describe_manifest(statement.answer), "result": self._chunk(statement, 0)}
        return view

    def _chunk(self, statement: SentStatement, number: int) -> dict[str, Any]:
        "Read the rows of a chunk, and say where the next one is."
        sizes = statement.answer.get("chunks", [])
        if not 0 <= number < len(sizes):
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"chunk_index {number}: statement {statement.id} is {statement.state} and has"
                f" {len(sizes)} chunks",
            )
        rows = json.loads(statement.folder.joinpath(f"{number}.json").read_text(encoding="utf-8"))
        chunk = _describe_chunk(sizes, number) | {"data_array": rows}
        if number + 1 < len(sizes):
            path = f"/api/2.0/sql/statements/{statement.id}/result/chunks/{number + 1}"
            chunk |= {"next_chunk_index": number + 1, "next_chunk_internal_link": path}
        return chunk


def describe_manifest(
    answer: Mapping[str, Any],  # As `SqlProcess.ask` answers
) -> dict[str, Any]:  # As the API answers
    "Describe a result: its columns and chunks."
    columns, sizes = answer["columns"], answer["chunks"]
    return {
        "format": "JSON_ARRAY",
        "schema": {"column_count": len(columns), "columns": columns},
        "total_chunk_count": len(sizes),
        "chunks": [_describe_chunk(sizes, number) for number in range(len(sizes))],
        "total_row_count": sum(sizes),
        "truncated": answer["truncated"],
    }


def _describe_chunk(sizes: list[int], number: int) -> dict[str, int]:
    return {"chunk_index": number, "row_offset": sum(sizes[:number]), "row_count": sizes[number]}


def read_wait(
    text: Any,  # `wait_timeout` of a call, as `10s`
) -> int:  # Seconds
    "Read how long a call waits; `CallError` for a time that Databricks does not take."
    found = re.fullmatch(r"(\d{1,3})s", str(text))
    seconds = int(found[1]) if found else -1
    if seconds != 0 and not _SHORTEST_WAIT <= seconds <= _LONGEST_WAIT:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"wait_timeout is {text!r}; it must be 0s, or from {_SHORTEST_WAIT}s to {_LONGEST_WAIT}s",
        )
    return seconds


def read_request(
    body: dict[str, Any],  # As the API takes it
) -> SqlRequest:
    "Read a statement and how it is asked; `CallError` for what is missing, and what is not served here."
    statement = body.get("statement")
    if not isinstance(statement, str) or not statement.strip():
        raise CallError("INVALID_PARAMETER_VALUE", f"statement is {statement!r}; it must be SQL")
    _refuse_value(body, "disposition", ("INLINE",), "links are opened without the token")
    _refuse_value(body, "format", ("JSON_ARRAY",), "rows are answered INLINE")
    _refuse_value(body, "on_wait_timeout", ("CONTINUE", "CANCEL"), "it is CONTINUE or CANCEL")
    return SqlRequest(
        statement,
        str(body.get("catalog") or "main"),
        str(body.get("schema") or "default"),
        check_objects("parameters", body.get("parameters") or []),
        _read_limit(body, "row_limit"),
        _read_limit(body, "byte_limit"),
    )


def _read_limit(body: dict[str, Any], name: str) -> int | None:
    "Read a limit of a call, where it has one."
    limit = body.get(name)
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0):
        return limit
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {limit!r}; it must be a number from 1 on")


def _refuse_value(body: dict[str, Any], name: str, known: tuple[str, ...], reason: str) -> None:
    "Refuse a value of a call that is none of those that there are."
    if body.get(name, known[0]) not in known:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"{name} is {body[name]!r}, which the local workspace does not serve: {reason}; write {known[0]}",
        )
