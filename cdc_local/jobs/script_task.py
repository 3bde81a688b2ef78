"""The process of a `spark_python_task`: runs a script as Python does, with the session of a task."""

import os
import runpy
import sys
import traceback
from pathlib import Path

from cdc_local.errors import Location, PipelineError
from cdc_local.jobs.task_session import provide_session
from cdc_local.storage import Storage


def run_script(
    path: str,  # The script
    arguments: list[str],  # What `sys.argv` says after it
) -> None:
    "Run a script; a failure shows the script's own lines, and ends the process with status 1."
    sys.argv = [path, *arguments]
    sys.path.insert(0, str(Path(path).parent))
    try:
        runpy.run_path(path, run_name="__main__")
    except PipelineError as error:
        lines = [line for file, line in _places(error) if file == path]
        error.location = error.location or Location(path, lines[-1] if lines else 0)
        sys.exit(f"error: {error}")
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != path:
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
        sys.exit(1)


def _places(
    error: Exception,  # Raised by the script, or by what it called
) -> list[tuple[str, int]]:  # File and line of each call, the outermost first
    "List where an error came through."
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]


if __name__ == "__main__":
    provide_session(Storage(Path(os.environ["CDC_STORAGE"])), [Path(sys.argv[1]).read_text(errors="replace")])
    run_script(sys.argv[1], sys.argv[2:])
