"""What a source file finds around it: modules, folders, wheels."""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cdc_local.analysis.evaluation import declaring
from cdc_local.analysis.patches import install_patches
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Graph, check_graph
from cdc_local.errors import Location
from cdc_local.source.dbutils import Dbutils
from cdc_local.source.files import Source, discover_sources, execute_source
from cdc_local.source.wheels import import_from_wheels, unpack_wheel
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
    sources: Sequence[Source],  # Source files that were read
) -> None:
    "Run the source files and check what they declared; raises `PipelineError` at the user's line."
    graph, spark = runtime.graph, runtime.spark
    namespace = {
        "spark": spark,
        "dbutils": Dbutils(runtime.storage, request.configuration),
        "__name__": "__main__",
        **{name: partial(_warn_of_display, graph, name) for name in ("display", "displayHTML")},
    }
    for source in sources:
        runtime.sources.update(source.files)
        for text in source.skipped:
            graph.warn(f"skipped {text}")
    for source in sources:
        scope = Scope()  # carries USE and SET from one SQL cell of a file to the next

        def declare_cell(text: str, location: Location, scope: Scope = scope) -> None:
            declare_sql(text, graph, spark, request.configuration, location, scope, request.parameters)

        with declaring(spark), graph.within((request.catalog, request.schema)):
            execute_source(source, dict(namespace), declare_cell)
    check_graph(graph)


def _warn_of_display(
    graph: Graph,  # Takes the warning
    name: str,  # The function: `display` or `displayHTML`
    *_: Any,
    **__: Any,
) -> None:
    "Stand in for a notebook's `display`."
    graph.warn(f"{name}() shows nothing in an update")


def _is_module_in(
    name: str,  # A module that is loaded
    folders: set[Path],  # Folders of `sys.path`
) -> bool:
    "Tell that a module, or the package that it belongs to, was found in one of these folders."
    top = sys.modules.get(name.partition(".")[0])
    found = next(iter(getattr(top, "__path__", None) or ()), None) or getattr(top, "__file__", None)
    return found is not None and Path(found).parent in folders


def _module_paths(
    module: Any,  # A module or a package
) -> set[Path]:  # Absolute
    "Find a module's file, and a package's folders."
    paths = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return {Path(path).absolute() for path in paths if path}


@contextmanager
def temporary_modules(
    modules: Mapping[str, Any],  # Module name -> module
    folders: Sequence[str],  # Folders that join `sys.path`
    used: set[Path] | None = None,  # Takes the files of the user's modules, and the folders of packages
) -> Iterator[None]:
    """Let an update import these modules, and from these folders.

    Afterwards the user's own modules are forgotten, for the next update to read again; a library stays,
    since many cannot be loaded twice.
    """
    modules_before, path_before = dict(sys.modules), list(sys.path)
    sys.modules.update(modules)
    sys.path[:0] = folders
    try:
        yield
    finally:
        added = {*folders, *sys.path} - (set(path_before) - set(folders))
        users_folders = {Path(folder).absolute() for folder in added}
        sys.path[:] = path_before
        new = [name for name in sys.modules if name not in modules_before]
        for name in [name for name in new if name in modules or _is_module_in(name, users_folders)]:
            module = sys.modules.pop(name)
            if used is not None and name not in modules:
                used |= _module_paths(module)
        sys.modules.update({name: modules_before[name] for name in modules if name in modules_before})


@contextmanager
def deployed_wheels(
    request: UpdateRequest,  # The update
) -> Iterator[None]:
    "Let the pipeline's files import from its wheels, unpacked in the storage; not there in a dry run."
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) if request.dry_run else Path(request.storage) / "wheels"
        with import_from_wheels([unpack_wheel(Path(wheel), folder) for wheel in request.wheels]):
            yield


@contextmanager
def source_environment(
    request: UpdateRequest,  # The update
    runtime: Runtime,  # Its names and paths
) -> Iterator[None]:
    "What a source file finds around it: Lakeflow's readers and modules, wheels, folders to import from."
    with (
        install_patches(runtime),
        deployed_wheels(request),
        temporary_modules(runtime.modules, import_path(request), runtime.update_inputs.modules),
    ):
        yield
