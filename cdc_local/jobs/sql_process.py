"""A process that answers SQL statements over a storage: its engine starts once, and stays.

`SqlProcess` is the side that asks. Requests and answers are lines of JSON; rows come as files, by chunk."""

import json
import os
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.jobs.processes import PYTHON, end_process_group
from cdc_local.storage import Storage

if TYPE_CHECKING:
    from cdc_local.analysis.sql_statement import SqlAnswer, SqlRequest

CHUNK_ROWS = 5_000  # Rows of a chunk

_SERVE = (*PYTHON, "-c", "from cdc_local.jobs.sql_process import serve_statements; serve_statements()")


class SqlProcess:
    "The process of one engine; it starts with the first statement."

    def __init__(
        self,
        storage: Storage,  # Whose tables are read
        engine: str,  # `sail` or `spark`
        may_leave: bool,  # Whether Spark answers what Sail is not known to answer as Spark does
    ) -> None:
        arguments = [str(storage.root), engine, json.dumps(may_leave)]
        with storage.root.joinpath("workspace", "warehouse.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_SERVE, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def ask(
        self,
        request: "SqlRequest",  # The statement
        folder: Path,  # Where the chunks go, `0.json` and so on
    ) -> dict[str, Any]:  # `columns`, `chunks` and `truncated`; or `needs_spark`; or `error`
        "Have a statement answered; `PipelineError` where the process has ended."
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(request) | {"folder": str(folder)}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise PipelineError("the process that answers statements has ended", hint="send it again")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        "End the process, whatever it does."
        end_process_group(self._process)


def serve_statements() -> None:
    "Answer statements until the standard input ends; what libraries print goes to standard error."
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    root, engine, may_leave = sys.argv[1:]
    answer_lines(sys.stdin, answers, Storage(Path(root)), engine, json.loads(may_leave))


def answer_lines(
    requests: IO[str],  # A request a line
    answers: IO[str],  # Takes an answer a line
    storage: Storage,  # Whose tables are read
    engine: str,  # `sail` or `spark`
    may_leave: bool,  # Whether Spark answers what Sail is not known to answer as Spark does
) -> None:
    "Answer each request by a line."
    for line in requests:
        answers.write(json.dumps(_answer(json.loads(line), storage, engine, may_leave)) + "\n")
        answers.flush()


def _answer(
    asked: dict[str, Any],  # A request, with the `folder` of its chunks
    storage: Storage,  # Whose tables are read
    engine: str,  # `sail` or `spark`
    may_leave: bool,  # Whether Spark answers what Sail is not known to answer as Spark does
) -> dict[str, Any]:  # See `SqlProcess.ask`
    "Answer a statement; whatever goes wrong is an answer, too."
    from pyspark.errors import PySparkException

    from cdc_local.analysis.sql_statement import SqlRequest, run_statement
    from cdc_local.engines.session import local_spark

    folder = Path(asked.pop("folder"))
    try:
        answer = run_statement(local_spark(engine=engine), storage, SqlRequest(**asked), may_leave)
        return _write_chunks(answer, folder)
    except NeedsSparkError as reason:
        return {"needs_spark": reason.message} if may_leave else _describe_failure(reason)
    except PySparkException as wrong:  # a mistake, or what Sail lacks: Spark knows which
        return {"needs_spark": str(wrong)} if may_leave else _describe_failure(wrong)
    except PipelineError as wrong:
        return _describe_failure(wrong)
    except Exception as fault:
        traceback.print_exc()
        sentence = f"this is a fault of the local warehouse ({type(fault).__name__})"
        return {"error": f"{sentence}; workspace/warehouse.log in the storage has the traceback"}


def _describe_failure(
    wrong: Exception,  # What a statement raised
) -> dict[str, Any]:  # `error`, and `sql_state` where it has one
    "Say what is wrong with a statement, in one sentence."
    from cdc_local.source.user_errors import describe_exception

    if isinstance(wrong, PipelineError):
        text, state = str(wrong), getattr(wrong, "sql_state", None)
    else:
        text = describe_exception(wrong).removeprefix(f"{type(wrong).__name__}: ")
        state = getattr(wrong, "getSqlState", lambda: None)()
    return {"error": text} | ({"sql_state": state} if state else {})


def _write_chunks(
    answer: "SqlAnswer",  # All rows
    folder: Path,  # Takes a file for each chunk
) -> dict[str, Any]:  # `columns`, `chunks`, the rows of each, and `truncated`
    "Write the rows."
    starts = range(0, len(answer.rows), CHUNK_ROWS) or [0]
    chunks = [answer.rows[start : start + CHUNK_ROWS] for start in starts]
    folder.mkdir(parents=True, exist_ok=True)
    for number, chunk in enumerate(chunks):
        folder.joinpath(f"{number}.json").write_text(json.dumps(chunk, ensure_ascii=False), encoding="utf-8")
    return {"columns": answer.columns, "chunks": list(map(len, chunks)), "truncated": answer.truncated}
