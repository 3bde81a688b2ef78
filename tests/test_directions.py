"Who may import whom: chapters of cdc_utils; rooms of cdc_local, whose imports run downwards in no circle."

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cdc_utils", "cdc_local")

PURE = {"spec", "bronze", "quality", "silver", "events", "scd1", "scd2", "gold", "customers", "settings"}
PURE |= {"bitemporal", "pipeline", "feed"}
SPARK_FREE = {"spec", "customers", "settings", "pipeline", "feed"}

# Chapter: the chapters it may import. Whoever is not listed may import any.
ALLOWED = {
    "spec": set(),
    "bronze": set(),
    "quality": set(),
    "silver": {"quality"},
    "events": {"spec"},
    "scd1": {"spec", "events"},
    "scd2": {"spec", "events", "scd1"},
    "bitemporal": {"spec", "events", "scd1", "scd2"},
    "gold": set(),
    "customers": {"spec"},
    "settings": set(),
    "feed": set(),
    "results": set(),
    "layout": set(),
    "pictures": {"results", "layout"},
    "remote": {"spec", "results"},
    "pipeline": {"spec", "bronze", "quality", "silver", "events", "scd1", "scd2", "gold"},
}
MAY_IMPORT_LOCAL = {"checks"}  # only where there is no session, which on Databricks there always is

# The rooms of cdc_local by floor, the lowest first: a room imports its own modules and those of lower floors.
FLOORS = [
    {"errors", "mount_namespace", "sql_names"},
    {"storage"},
    {"volumes"},
    {"engines"},
    {"source"},
    {"dataflow"},
    {"delta"},
    {"autoloader"},
    {"sql"},
    {"auto_cdc"},
    {"analysis"},
    {"jobs"},
    {"update"},
    {"bundles"},
    {"reports"},
    {"pages"},
    {"workspace", "operations", "unit_tests", "project"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def find_modules(package):
    "Full name -> path, of every module of a package that holds code"
    paths = [
        path for path in (ROOT / package).rglob("*.py") if path.name not in ("__init__.py", "_modidx.py")
    ]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}


MODULES = {name: path for package in PACKAGES for name, path in find_modules(package).items()}
CHAPTERS = {name.partition(".")[2]: path for name, path in MODULES.items() if name.startswith("cdc_utils.")}


def nodes_at_import(node):
    "The nodes that run when the module is imported: everything outside a function"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        yield from nodes_at_import(child)


def imported_names(source, module, only_top_level=False):
    "Full names a module imports; relative ones resolved, `from a import b` as both `a` and `a.b`"
    tree, found = ast.parse(source), set()
    package = module.split(".")[:-1]
    for node in nodes_at_import(tree) if only_top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def is_or_in(name, module):
    return name == module or name.startswith(f"{module}.")


def find_wrong_chapter_imports(chapter, source):
    "Imports of a chapter that the design forbids, as `what: why`"
    everything = imported_names(source, f"cdc_utils.{chapter}")
    at_import = imported_names(source, f"cdc_utils.{chapter}", only_top_level=True)
    reached = {name.partition(".")[2] for name in everything if name.startswith("cdc_utils.")}
    reached = {name for name in reached if any(is_or_in(name, known) for known in CHAPTERS)}
    found = []
    if chapter not in MAY_IMPORT_LOCAL:
        found += [
            f"{name}: cdc_utils knows nothing of it" for name in everything if is_or_in(name, "cdc_local")
        ]
    if chapter in ALLOWED:
        wrong = [name for name in reached if not any(is_or_in(name, other) for other in ALLOWED[chapter])]
        found += [f"{name}: {chapter} may import {sorted(ALLOWED[chapter])}" for name in wrong]
    spark = [name for name in everything if is_or_in(name, "pyspark")]
    found += [
        f"{name}: scripts import it and pass it as `dp`"
        for name in spark
        if is_or_in(name, "pyspark.pipelines")
    ]
    if chapter in SPARK_FREE:
        found += [f"{name}: it imports without Spark" for name in at_import if is_or_in(name, "pyspark")]
    if chapter in PURE:
        beyond = [name for name in spark if name != "pyspark" and not is_or_in(name, "pyspark.sql")]
        found += [f"{name}: of pyspark, pure chapters import pyspark.sql only" for name in beyond]
    if chapter == "remote":
        found += [f"{name}: a remote workspace needs no Spark" for name in spark]
    return sorted(found)


def room_of(module):
    "`cdc_local.delta.log` is in `delta`, `cdc_local.errors` in `errors`"
    return module.split(".")[1]


def find_wrong_room_imports(module, source):
    "Imports of a room that the design forbids, as `what: why`; those inside functions included"
    found, room = [], room_of(module)
    for name in imported_names(source, module):
        if is_or_in(name, "pyspark.pipelines"):
            found.append(f"{name}: an update puts its own in its place")
        if not name.startswith("cdc_local."):
            continue
        other = room_of(name)
        if other != room and FLOOR[other] >= FLOOR[room]:
            found.append(f"{name}: {room} may import what stands below it, {other} does not")
    return sorted(found)


@pytest.mark.parametrize("chapter", sorted(CHAPTERS))
def test_chapters_import_what_they_may(chapter):
    assert find_wrong_chapter_imports(chapter, CHAPTERS[chapter].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("cdc_local.")))
def test_rooms_import_downwards(module):
    assert find_wrong_room_imports(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_every_room_has_a_floor_and_a_face():
    rooms = {room_of(name) for name in MODULES if name.startswith("cdc_local.")}
    assert rooms <= FLOOR.keys()
    for room in sorted(rooms):
        face = ROOT / "cdc_local" / room / "__init__.py"
        path = face if face.parent.is_dir() else face.parent.with_suffix(".py")
        assert ast.get_docstring(ast.parse(path.read_text())), (
            f"{path}: say what it is for and where to begin"
        )


def test_no_module_imports_itself_in_a_circle():
    graph = {
        name: {other for other in imported_names(path.read_text(), name) if other in MODULES}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    "chapter, source",
    [
        ("spec", "from cdc_utils.customers import CURRENT"),
        ("spec", "from . import quality"),
        ("spec", "import pyspark"),
        ("spec", "try: from pyspark.sql import Column\nexcept ImportError: pass"),
        ("spec", "class Lazy:\n    import pyspark.sql"),
        ("customers", "from cdc_utils import quality"),
        ("settings", "from .spec import CdcSpec"),
        ("pipeline", "from pyspark import pipelines as dp"),
        ("pipeline", "def declare():\n    from pyspark import pipelines"),
        ("feed", "from pyspark.sql import DataFrame"),
        ("gold", "import pyspark.pipelines.api"),
        ("gold", "from pyspark.ml import Pipeline"),
        ("gold", "import cdc_local.storage"),
        ("silver", "def conform():\n    from cdc_local.engines.spark.session import start_spark"),
        ("bronze", "from .quality import kept"),
        ("remote", "from cdc_local import storage"),
        ("remote", "from pyspark.sql import functions"),
        ("anything_new", "import cdc_local"),
    ],
)
def test_a_wrong_import_of_a_chapter_is_seen(chapter, source):
    assert find_wrong_chapter_imports(chapter, source)


@pytest.mark.parametrize(
    "chapter, source",
    [
        ("customers", "from cdc_utils.spec import CdcSpec"),
        ("customers", "from .spec import CdcSpec"),
        ("silver", "from .quality import failed_rules\nfrom pyspark.sql import functions as F"),
        ("scd2", "from cdc_utils.spec import CdcSpec\nfrom cdc_utils.scd1 import current"),
        ("feed", "def frame(spark):\n    from pyspark.sql import Row"),
        ("checks", "def session():\n    from cdc_local.engines.session import local_spark"),
    ],
)
def test_a_right_import_of_a_chapter_is_allowed(chapter, source):
    assert find_wrong_chapter_imports(chapter, source) == []


@pytest.mark.parametrize(
    "module, source",
    [
        ("cdc_local.delta.log", "from cdc_local.update.run import run_update"),
        ("cdc_local.delta.log", "def late():\n    from cdc_local.update.run import run_update"),
        ("cdc_local.delta.log", "from ..analysis import runtime"),
        ("cdc_local.workspace.server", "from cdc_local.operations.demo import run_demo"),
        ("cdc_local.errors", "from cdc_local.storage import Storage"),
        ("cdc_local.update.run", "import pyspark.pipelines as dp"),
    ],
)
def test_a_wrong_import_of_a_room_is_seen(module, source):
    assert find_wrong_room_imports(module, source)


@pytest.mark.parametrize(
    "module, source",
    [
        ("cdc_local.update.run", "from cdc_utils.scd2 import history\nfrom cdc_local.storage import Storage"),
        ("cdc_local.delta.log", "from cdc_local.delta.reader import read_table"),
        ("cdc_local.cli.run", "from cdc_local.update.run import run_update"),
    ],
)
def test_a_right_import_of_a_room_is_allowed(module, source):
    assert find_wrong_room_imports(module, source) == []


def run_without_pyspark(code):
    "What Python ends with where pyspark is not installed"
    command = [sys.executable, "-c", f"import sys; sys.modules['pyspark'] = None\n{code}"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def test_spark_free_modules_import_where_spark_is_absent():
    assert set(CHAPTERS) >= SPARK_FREE
    names = [f"cdc_utils.{chapter}" for chapter in sorted(SPARK_FREE)]
    done = run_without_pyspark(f"import importlib; [importlib.import_module(name) for name in {names!r}]")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("chapter", sorted((PURE - SPARK_FREE) & set(CHAPTERS)))
def test_chapters_say_what_to_install_where_spark_is_absent(chapter):
    done = run_without_pyspark(f"import cdc_utils.{chapter}")
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    assert done.returncode == 0 or last.startswith("ImportError") and "pip install pyspark" in last, (
        done.stderr
    )


OF_THE_JVM = r"\b_jvm\b|\b_jdf\b|\b_jsparkSession\b|\b_jsc\b|\b_jo\b|\bsparkContext\b|\bpy4j\.(?!: )"


def test_only_the_engine_of_spark_reaches_into_the_jvm():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(OF_THE_JVM, line) and "engines/spark" not in str(path)
    ]
    assert found == []
