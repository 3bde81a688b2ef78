"""A notebook of a job runs in a kernel of its own, with the parameters, the `dbutils`, the `spark` and the wheel that it would have on Databricks."""

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

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source.dbutils import Dbutils
from cdc_local.source.files import read_source
from cdc_local.source.wheels import (
    PACKAGE,
    hide_package,
    is_wheel,
    refuse_missing_libraries,
    unpack_wheel,
    wheels_first,
)
from cdc_local.sql.parser import split_statements
from cdc_local.storage import Storage, localize


@dataclass(frozen=True)
class NotebookRun:
    "A notebook, and all that it finds around it."

    path: str  # The notebook: `.ipynb`, or `.py` as Databricks exports it
    copy: str  # Where the executed copy goes
    folder: str  # Working directory of its kernel
    storage: str  # Storage folder: where volumes lie
    parameters: dict = field(default_factory=dict)  # What widgets answer; name to text
    wheels: tuple[str, ...] = ()  # Unpacked wheels, whose modules come first


def notebook_environment(
    run: NotebookRun,  # What to run
) -> dict[str, str]:  # Environment variables
    "What a notebook's process is told: the storage folder, and each parameter whose name can be a variable's."
    given = {
        f"CDC_PARAM_{name.upper()}": str(value)
        for name, value in run.parameters.items()
        if name.isidentifier()
    }
    return {"CDC_STORAGE": run.storage} | given


def used_names(
    cells: Iterable[str],  # Source of the code cells
) -> set[str]:  # Names they read
    "The names that a notebook uses; lines that are no Python count as none."
    from IPython.core.inputtransformer2 import TransformerManager

    names = set()
    for cell in cells:
        try:
            tree = ast.parse(TransformerManager().transform_cell(cell))
        except SyntaxError:
            continue  # the cell will tell so itself
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names


def databricks_names(
    names: set[str],  # Names that the notebook uses
    run: NotebookRun,  # What it finds around it
) -> dict:  # Name to object
    "What Databricks puts into a notebook: `dbutils`, and `spark` where it is used."
    storage = Storage(run.storage)
    given = {"dbutils": Dbutils(storage, run.parameters)}
    if "spark" in names:
        from cdc_local.engines.spark.session import local_spark

        given["spark"] = local_spark(log=storage.spark_log_path)
    return given


class Installed:
    "What a notebook can import: the wheels of its task, and those that it installs itself. Without a wheel of this package there is none."

    def __init__(
        self,
        storage: Storage,  # Where volumes lie
        wheels: Iterable[Path],  # Unpacked wheels of its task
    ):
        self.storage, self.wheels, self._held = storage, [], ExitStack()
        self.add(wheels)

    def add(self, wheels: Iterable[Path]) -> None:
        "Let more wheels come first."
        self.wheels += [Path(each) for each in wheels]
        self._held.close()
        self._held.enter_context(wheels_first(self.wheels))
        if not any((each / PACKAGE).is_dir() for each in self.wheels):
            self._held.enter_context(hide_package())

    def pip(self, line: str) -> None:  # What follows `%pip`
        "Stand in for `%pip` and `%conda`."
        words = [word for word in shlex.split(line) if not word.startswith("-")]
        if words[:1] != ["install"] or "-r" in line.split():
            return print(f"skipped: %pip {line}")
        self.add(
            unpack_wheel(Path(localize(self.storage, each)), self.storage.root / "wheels")
            for each in words[1:]
            if is_wheel(each)
        )
        try:
            refuse_missing_libraries(each for each in words[1:] if not is_wheel(each))
        except UsageError as missing:
            print(f"%pip installs nothing here: {missing}")


def sql_cell(
    line: str,  # What follows `%sql`
    cell: str = None,  # The cell below `%%sql`
):  # The result of its last statement, as pandas has it
    "Stand in for `%sql` and `%%sql`."
    from pyspark.sql import SparkSession

    frames = [SparkSession.active().sql(statement) for statement in statements_of(cell or line)]
    return frames[-1].toPandas() if frames else None


def statements_of(
    text: str,  # SQL
) -> list[str]:  # Its statements
    "Split SQL at the semicolons that end statements; `PipelineError` for a string or comment that never ends."
    return [text[each.words[0].start : each.words[-1].stop] for each in split_statements(text)]


def register_magics(
    shell,  # IPython's shell
    installed: Installed,  # What the notebook can import
) -> None:
    "Make Databricks' magics known."
    for name in ("pip", "conda"):
        shell.register_magic_function(installed.pip, "line", name)
    shell.register_magic_function(sql_cell, "line_cell", "sql")
    shell.register_magic_function(lambda line, cell=None: None, "line_cell", "md")


def prepare_kernel(
    names: list[str],  # Names that the notebook uses
    **run,
) -> None:
    "In the kernel, before the first cell: put the wheels first, and the names into the notebook. `run` is a `NotebookRun`, as keywords."
    from IPython import get_ipython

    run = NotebookRun(**run)
    given, shell = databricks_names(set(names), run), get_ipython()
    register_magics(
        shell, Installed(Storage(run.storage), run.wheels)
    )  # held by the magics, until the kernel ends
    shell.push(given)


def read_notebook(
    path: Path,  # `.ipynb` or `.py`
):  # A notebook, as `nbformat` has it
    "Read a notebook; `UsageError` for a file that is none."
    import nbformat

    if not path.is_file():
        raise UsageError(f"there is no notebook {path}")
    if path.suffix == ".py":
        return notebook_from_source(read_source(path))
    if path.suffix != ".ipynb":
        raise UsageError(f"{path} is no Python notebook", hint="the local runner runs .ipynb and .py")
    try:
        return nbformat.read(path, 4)
    except Exception as wrong:  # nbformat, its schema and JSON have no error in common
        raise UsageError(f"{path} is no notebook: {type(wrong).__name__}: {wrong}") from None


def notebook_from_source(
    source,  # A `Source`
):  # A notebook, as `nbformat` has it
    "A source file as a notebook of code cells."
    from nbformat.v4 import new_code_cell, new_notebook

    return new_notebook(
        cells=[
            new_code_cell(("%%sql\n" if cell.language == "sql" else "") + cell.text) for cell in source.cells
        ]
    )


def printed_text(
    notebook,  # An executed notebook, as `nbformat` reads it
) -> str:  # What its cells printed
    "The standard output of a notebook."
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.get("outputs", [])
    ]
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    ).strip()


def bridge_code(
    notebook,  # As `nbformat` has it
    run: NotebookRun,  # What it finds around it
) -> str:  # Code for the kernel
    "The code that runs before the first cell."
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    names = used_names(sources) & {"spark", "dbutils"} | (
        {"spark"} if any(re.search(r"%sql\b", source) for source in sources) else set()
    )
    given = json.dumps(json.dumps({"names": sorted(names), **asdict(run)}))
    return f"from json import loads as _loads; from cdc_local.jobs.notebook_task import prepare_kernel as _prepare; _prepare(**_loads({given})); del _loads, _prepare"


def build_bridge(
    client,  # nbclient's, with a kernel that runs
    notebook,  # The notebook
    run: NotebookRun,  # What it finds around it
) -> None:
    "Run `bridge_code` in the kernel."
    from nbformat.v4 import new_code_cell

    client.nb.cells.append(new_code_cell(bridge_code(notebook, run)))
    try:
        client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)
    finally:
        del client.nb.cells[-1]


def run_notebook(
    run: NotebookRun,  # What to run
    on_cell: Callable = None,  # Called with the number of the cell that starts, and how many there are
) -> str:  # What its cells printed
    "Run a notebook in a kernel of its own; `PipelineError` tells the cell that failed and its error."
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError:
        raise UsageError(
            "notebooks need nbclient and ipykernel", hint="pip install nbclient ipykernel"
        ) from None
    notebook, copy, number = read_notebook(Path(run.path)), Path(run.copy), 0
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=None, resources={"metadata": {"path": run.folder}}
    )
    try:
        with client.setup_kernel(
            env=os.environ | notebook_environment(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ):
            build_bridge(client, notebook, run)
            for number, cell in enumerate(notebook.cells, 1):
                if on_cell:
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


def run_from_stdin() -> None:
    "Run the notebook that standard input describes; exit status 1: it failed, 2: it cannot be run."
    run = NotebookRun(**json.load(sys.stdin))
    try:
        print(
            run_notebook(
                run, lambda number, cells: print(f"cell {number} of {cells}", file=sys.stderr, flush=True)
            )
        )
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
