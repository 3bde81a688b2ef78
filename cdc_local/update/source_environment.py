"""What a source file finds around it: modules, folders, wheels."""

import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from cdc_local.analysis.evaluation import declaring
from cdc_local.analysis.patches import install_patches
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.graph import check_graph
from cdc_local.source.dbutils import Dbutils
from cdc_local.source.files import discover_sources, execute_source
from cdc_local.source.wheels import unpack_wheel, wheels_first
from cdc_local.sql.scope import Scope
from cdc_local.sql.statements import declare_sql
from cdc_local.update.request import UpdateRequest


def import_path(
    request: UpdateRequest,  # The update
) -> list[str]:  # Folders that join `sys.path`
    "The root path, and the folder of each source."
    files = discover_sources(list(request.sources))
    root = (
        Path(request.root_path)
        if request.root_path
        else min(files, key=lambda file: len(file.parts)).parent.parent
    )
    return list(dict.fromkeys(str(folder.absolute()) for folder in (root, *[file.parent for file in files])))


def declare_sources(
    request: UpdateRequest,  # The update
    runtime: Runtime,  # Takes the declarations
    sources: list,  # `Source`s that were read
) -> None:
    "Run the source files and check what they declared; raises `PipelineError` at the user's line."
    graph, spark = runtime.graph, runtime.spark
    namespace = {
        "spark": spark,
        "dbutils": Dbutils(runtime.storage, request.configuration),
        "__name__": "__main__",
        **{name: partial(warn_of_display, graph, name) for name in ("display", "displayHTML")},
    }
    for each in sources:
        runtime.sources.update(each.files)
        for text in each.skipped:
            graph.warn(f"skipped {text}")
    for each in sources:
        with declaring(), graph.within((request.catalog, request.schema)):
            execute_source(
                each, dict(namespace), partial(declare_sql_cell, graph, spark, request.configuration, Scope())
            )
    check_graph(graph)


def warn_of_display(graph, name, *_, **__):
    "Stand in for a notebook's `display`."
    graph.warn(f"{name}() shows nothing in an update")


def declare_sql_cell(graph, spark, configuration, scope, text, location):
    "Declare one SQL cell; `scope` carries USE and SET to the file's next one."
    declare_sql(text, graph, spark, configuration, location, scope)


def recording_modules(
    runtime: Runtime,  # Takes the declarations
) -> dict[str, Any]:  # Module name -> module
    "What `pyspark.pipelines` and `dlt` are during an update."
    reads = {
        "read": lambda name: runtime.read_name(name, False),
        "read_stream": lambda name: runtime.read_name(name, True),
    }
    dp, dlt = (LakeflowModule(name, runtime.graph, reads) for name in ("pyspark.pipelines", "dlt"))
    return {"pyspark.pipelines": dp, "dlt": dlt}


def is_module_in(
    name: str,  # A module that is loaded
    folders: set[Path],  # Folders of `sys.path`
) -> bool:
    "Tell that a module, or the package that it belongs to, was found in one of these folders."
    top = sys.modules.get(name.partition(".")[0])
    place = next(iter(getattr(top, "__path__", None) or ()), None) or getattr(top, "__file__", None)
    return place is not None and Path(place).parent in folders


@contextmanager
def temporary_modules(
    modules: dict[str, Any],  # Module name -> module
    folders: list[str],  # Folders that join `sys.path`
):
    "Lend modules and folders to an update. Afterwards the user's own modules are forgotten, for the next update to read again; a library stays, since many cannot be loaded twice."
    before, path = dict(sys.modules), list(sys.path)
    sys.modules.update(modules)
    sys.path[:0] = folders
    try:
        yield
    finally:
        theirs = {Path(each).absolute() for each in {*folders, *sys.path} - (set(path) - set(folders))}
        sys.path[:] = path
        for name in [
            name
            for name in sys.modules
            if name not in before and (name in modules or is_module_in(name, theirs))
        ]:
            del sys.modules[name]
        sys.modules.update({name: before[name] for name in modules if name in before})


@contextmanager
def deployed_wheels(
    request: UpdateRequest,  # The update
):
    "Let the pipeline's files import from its wheels, unpacked in the storage; a dry run leaves nothing there."
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) if request.dry_run else Path(request.storage) / "wheels"
        with wheels_first([unpack_wheel(Path(wheel), place) for wheel in request.wheels]):
            yield


def source_environment(
    request: UpdateRequest,  # The update
    runtime: Runtime,  # Its names and paths
) -> list:  # Context managers
    "What a source file finds around it: Lakeflow's readers and modules, and the folders it may import from."
    modules = recording_modules(runtime)
    return [
        install_patches(runtime),
        deployed_wheels(request),
        temporary_modules(modules, import_path(request)),
        mock.patch("pyspark.pipelines", modules["pyspark.pipelines"], create=True),
    ]
