"""The process of a `notebook_task`: a kernel with the parameters, `dbutils`, `spark` and wheel of a task.

`run_from_stdin` is where the process begins. It starts a kernel, has `prepare_kernel` run there before
the first cell, and then runs one cell after the other.
"""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.jobs.task_session import provide_session
from cdc_local.source.dbutils import Dbutils
from cdc_local.source.deployed import PACKAGE
from cdc_local.source.files import Source, read_source
from cdc_local.source.task_values import Jobs, TaskValues
from cdc_local.source.wheels import (
    hide_package,
    import_from_wheels,
    is_wheel,
    refuse_missing_libraries,
    unpack_wheel,
)
from cdc_local.sql.parser import split_statements
from cdc_local.storage import Storage, localize

_OnCell = Callable[
    [int, int], object
]  # Called with the number of the cell that starts, and how many there are


@dataclass(frozen=True)
class NotebookRun:
    "A notebook to run, and all that it finds around it."

    path: str  # The notebook: `.ipynb`, or `.py` as Databricks exports it
    executed_copy: str  # Where the executed copy goes
    folder: str  # Working directory of its kernel
    storage: str  # Storage folder: where volumes lie
    parameters: dict[str, str] = field(default_factory=dict)  # What widgets answer; name to text
    wheels: tuple[str, ...] = ()  # Unpacked wheels, whose modules come first
    task_key: str = ""  # The task that runs it
    task_values: str = ""  # Folder of the job's task values; empty where no job runs it


def run_from_stdin() -> None:
    "Run the notebook that standard input describes; exit status 1: it failed, 2: it cannot be run."
    run = NotebookRun(**json.load(sys.stdin))

    def print_cell(number: int, cells: int) -> None:
        print(f"cell {number} of {cells}", file=sys.stderr, flush=True)

    try:
        print(run_notebook(run, print_cell))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def run_notebook(
    run: NotebookRun,  # What to run
    on_cell: _OnCell | None = None,  # Called as each cell starts
) -> str:  # What its cells printed
    "Run a notebook in a kernel of its own; raises `PipelineError` with the cell that failed and its error."
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError:
        raise UsageError(
            "notebooks need nbclient and ipykernel", hint="pip install nbclient ipykernel"
        ) from None
    notebook, copy, number = read_notebook(Path(run.path)), Path(run.executed_copy), 0
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=None, resources={"metadata": {"path": run.folder}}
    )
    environ = os.environ | notebook_environ(run)
    try:
        with (
            TemporaryDirectory(prefix="cdc-ipython-", ignore_cleanup_errors=True) as profiles,
            client.setup_kernel(
                env=environ | {"IPYTHONDIR": profiles},  # no startup file of whoever runs the job
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ),
        ):
            _execute_preparation(client, preparation_code(notebook, run))
            for number, cell in enumerate(notebook.cells, 1):
                if on_cell is not None:
                    on_cell(number, len(notebook.cells))
                client.execute_cell(cell, number - 1)
    except CellExecutionError as error:
        raise PipelineError(
            f"cell {number} failed: {error.ename}: {error.evalue}",
            Location(run.path),
            f"the executed copy is {copy}",
        ) from None
    except DeadKernelError:
        raise PipelineError(
            f"the kernel died in cell {number}", Location(run.path), "out of memory?"
        ) from None
    finally:
        copy.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, copy)
    return printed_text(notebook)


def read_notebook(
    path: Path,  # `.ipynb` or `.py`
) -> Any:  # A notebook, as `nbformat` has it
    "Read a notebook; raises `UsageError` for a file that is none."
    import nbformat

    if not path.is_file():
        raise UsageError(f"there is no notebook {path}")
    if path.suffix == ".py":
        return _notebook_from_source(read_source(path))
    if path.suffix != ".ipynb":
        raise UsageError(f"{path} is no Python notebook", hint="the local runner runs .ipynb and .py")
    try:
        return nbformat.read(path, 4)
    except Exception as error:  # nbformat, its schema and JSON have no error in common
        raise UsageError(f"{path} is no notebook: {type(error).__name__}: {error}") from None


def _notebook_from_source(
    source: Source,  # A `.py` file that Databricks exported
) -> Any:  # A notebook, as `nbformat` has it
    "Make a notebook of code cells from a source file; its SQL cells begin with `%%sql`."
    from nbformat.v4 import new_code_cell, new_notebook

    return new_notebook(
        cells=[
            new_code_cell(("%%sql\n" if cell.language == "sql" else "") + cell.text) for cell in source.cells
        ]
    )


def notebook_environ(
    run: NotebookRun,  # What to run
) -> dict[str, str]:  # Environment variables
    "List what a kernel's environment says: the storage folder, and parameters whose names can be variables'."
    parameters = {
        f"CDC_PARAM_{name.upper()}": str(value)
        for name, value in run.parameters.items()
        if name.isidentifier()
    }
    return {"CDC_STORAGE": run.storage} | parameters


def printed_text(
    notebook: Any,  # An executed notebook, as `nbformat` has it
) -> str:  # What its cells printed
    "Collect the standard output of a notebook's cells."
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.get("outputs", [])
    ]
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    ).strip()


def used_names(
    cells: Iterable[str],  # Source of the code cells
) -> set[str]:  # Names they read
    "List the names that a notebook uses; a cell that is no Python counts as using none."
    from IPython.core.inputtransformer2 import TransformerManager

    names: set[str] = set()
    for cell in cells:
        try:
            tree = ast.parse(TransformerManager().transform_cell(cell))
        except SyntaxError:
            continue  # its run will say so
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)  # `globals().get("spark")`
    return names


def preparation_code(
    notebook: Any,  # As `nbformat` has it
    run: NotebookRun,  # What it finds around it
) -> str:  # Code for the kernel: calls `prepare_kernel`
    "Write the code that runs in a kernel before the first cell."
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    names = used_names(sources) & {"spark", "dbutils"}
    if any(re.search(r"%sql\b", source) for source in sources):
        names |= {"spark"}
    arguments = json.dumps(json.dumps({"names": sorted(names), **asdict(run)}))
    return "; ".join(
        [
            "from json import loads as _loads",
            "from cdc_local.jobs.notebook_task import prepare_kernel as _prepare",
            f"_prepare(**_loads({arguments}))",
            "del _loads, _prepare",
        ]
    )


def _execute_preparation(
    client: Any,  # nbclient's, with a kernel that runs
    code: str,  # See `preparation_code`
) -> None:
    "Run code in a kernel as a cell that the executed copy does not show."
    from nbformat.v4 import new_code_cell

    client.nb.cells.append(new_code_cell(code))
    try:
        client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)
    finally:
        del client.nb.cells[-1]


def prepare_kernel(
    names: list[str],  # Names that the notebook uses
    **run: Any,  # Fields of a `NotebookRun`
) -> None:
    """In the kernel, before the first cell: put the wheels first, and Databricks' names into the notebook.

    Fields of a `NotebookRun` come as `run`."""
    from IPython import get_ipython

    notebook_run = NotebookRun(**run)
    sources = [cell.source for cell in read_notebook(Path(notebook_run.path)).cells]
    start_session = provide_session(Storage(Path(notebook_run.storage)), sources)
    databricks_names = make_databricks_names(set(names), notebook_run, start_session)
    libraries = NotebookLibraries(Storage(Path(notebook_run.storage)), map(Path, notebook_run.wheels))
    shell: Any = get_ipython()
    register_magics(shell, libraries)  # which keep the libraries until the kernel ends
    shell.push(databricks_names)


def make_databricks_names(
    names: set[str],  # Names that the notebook uses
    run: NotebookRun,  # What it finds around it
    start_session: Callable[[], Any],  # Starts its session
) -> dict[str, Any]:  # Name to object
    "Make what Databricks puts into a notebook: `dbutils`, and `spark` where it is used."
    storage = Storage(Path(run.storage))
    values = TaskValues(Path(run.task_values)) if run.task_values else None
    made: dict[str, Any] = {"dbutils": Dbutils(storage, run.parameters, Jobs(values, run.task_key))}
    if "spark" in names:
        made["spark"] = start_session()
    return made


class NotebookLibraries:
    """What a notebook can import: the wheels of its task, and those that it installs itself.

    Without a wheel of `cdc_utils` there is none, whatever is installed here: Databricks knows none either.
    """

    def __init__(
        self,
        storage: Storage,  # Where volumes lie
        wheels: Iterable[Path],  # Unpacked wheels of its task
    ) -> None:
        self.storage = storage
        self.wheels: list[Path] = []
        self._import_paths = ExitStack()
        self.add(wheels)

    def add(
        self,
        wheels: Iterable[Path],  # Unpacked wheels
    ) -> None:
        "Let more wheels come first."
        self.wheels += wheels
        self.close()
        self._import_paths.enter_context(import_from_wheels(self.wheels))
        if not any((wheel / PACKAGE).is_dir() for wheel in self.wheels):
            self._import_paths.enter_context(hide_package())

    def close(self) -> None:
        "Import from where this process did before."
        self._import_paths.close()

    def pip(
        self,
        line: str,  # What follows `%pip`
    ) -> None:
        "Stand in for `%pip` and `%conda`: put wheels first, say which libraries are missing."
        words = [word for word in shlex.split(line) if not word.startswith("-")]
        if words[:1] != ["install"] or "-r" in line.split():
            print(f"skipped: %pip {line}")
            return
        dependencies = words[1:]
        self.add(
            unpack_wheel(Path(localize(self.storage, dependency)), self.storage.root / "wheels")
            for dependency in dependencies
            if is_wheel(dependency)
        )
        try:
            refuse_missing_libraries(dependency for dependency in dependencies if not is_wheel(dependency))
        except UsageError as error:
            print(f"%pip installs nothing here: {error}")


def register_magics(
    shell: Any,  # IPython's shell
    libraries: NotebookLibraries,  # What the notebook can import
) -> None:
    "Register Databricks' magics: `%pip`, `%conda`, `%sql` and `%md`."
    for name in ("pip", "conda"):
        shell.register_magic_function(libraries.pip, "line", name)
    shell.register_magic_function(_run_sql, "line_cell", "sql")
    shell.register_magic_function(lambda line, cell=None: None, "line_cell", "md")


def _run_sql(
    line: str,  # What follows `%sql`
    cell: str | None = None,  # The cell below `%%sql`
) -> Any:  # The result of its last statement, as pandas has it; None for no statement
    "Stand in for `%sql` and `%%sql`."
    from pyspark.sql import SparkSession

    frames = [SparkSession.active().sql(statement) for statement in split_sql(cell or line)]
    return frames[-1].toPandas() if frames else None


def split_sql(
    text: str,  # SQL
) -> list[str]:  # Its statements, without the semicolons
    "Split SQL at the semicolons that end statements; `PipelineError` for a string or comment without an end."
    return [text[statement.words[0].start : statement.words[-1].stop] for statement in split_statements(text)]
