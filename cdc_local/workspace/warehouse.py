"""The one SQL warehouse: processes that answer statements, which start with the first of them."""

import threading
from pathlib import Path
from typing import Any

from cdc_local.analysis.sql_statement import SqlRequest
from cdc_local.engines.session import choose_engine
from cdc_local.errors import PipelineError
from cdc_local.jobs.deadline import StopSignal
from cdc_local.jobs.sql_process import SqlProcess
from cdc_local.storage import Storage


class Warehouse:
    "Processes that answer statements over a storage: one of Sail, and one of Spark for what needs it."

    def __init__(
        self,
        storage: Storage,  # Whose tables are read
    ) -> None:
        self.storage = storage
        self.is_running = False
        self._changing = threading.Lock()  # For those that start and end processes
        self._processes: dict[str, SqlProcess] = {}  # Engine -> its process

    def start(self) -> None:
        "Run; its processes start with the first statement, which a warehouse that was stopped starts, too."
        self.is_running = True

    def stop(self) -> None:
        "Stop; a statement that is being answered fails."
        self.is_running = False
        self.interrupt()

    def interrupt(self) -> None:
        "End the processes, whatever they do; the next statement starts them anew."
        with self._changing:
            for engine in list(self._processes):
                self._processes.pop(engine).end()

    def answer(
        self,
        request: SqlRequest,  # The statement
        folder: Path,  # Takes its rows
        stop: StopSignal,  # Set when it is canceled, before `interrupt`
    ) -> dict[str, Any]:  # As `SqlProcess.ask` answers
        "Answer a statement, one at a time; `PipelineError` where a process ended."
        asked = choose_engine()
        engine = "spark" if asked == "spark" else "sail"
        answer = self._ask(engine, asked == "auto", request, folder, stop)
        if "needs_spark" in answer:
            answer = self._ask("spark", False, request, folder, stop)
        return answer

    def _ask(
        self, engine: str, may_leave: bool, request: SqlRequest, folder: Path, stop: StopSignal
    ) -> dict[str, Any]:
        "Ask the process of an engine; one that has ended is started anew by the next statement."
        with self._changing:
            if stop.is_set():
                raise PipelineError("it was canceled")
            self.is_running = True
            process = self._processes.get(engine)
            if process is None:
                process = self._processes[engine] = SqlProcess(self.storage, engine, may_leave)
        try:
            return process.ask(request, folder)
        except PipelineError:
            with self._changing:
                if self._processes.get(engine) is process:
                    self._processes.pop(engine).end()
            raise
