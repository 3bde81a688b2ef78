"""Who may import whom: the directions of the design, read from the generated modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cdc_utils"
LIBRARY = {
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "_modidx.py")
}
PURE = {
    "spec",
    "bronze",
    "quality",
    "silver",
    "scd1",
    "scd2",
    "gold",
    "customers",
    "settings",
    "pipeline",
    "feed",
}
SPARK_FREE = {"spec", "customers", "settings", "pipeline", "feed"}

# Module: the modules of this package it may import. Whoever is not listed may import anything but `local`.
ALLOWED = {
    "spec": set(),
    "bronze": set(),
    "quality": set(),
    "silver": {"quality"},
    "scd1": {"spec"},
    "scd2": {"spec", "scd1"},
    "gold": set(),
    "customers": {"spec"},
    "settings": set(),
    "feed": set(),
    "results": set(),
    "pictures": {"results"},
    "workspace": {"spec", "results"},
    "pipeline": {"spec", "bronze", "quality", "silver", "scd1", "scd2", "gold"},
}
MAY_IMPORT_LOCAL = {
    "cli",
    "checks",
}  # checks: only where there is no session, which on Databricks there always is


def imports(source, module, only_top_level=False):
    """Full names a module imports; relative ones resolved, `from a import b` as both `a` and `a.b`."""
    tree, found = ast.parse(source), set()
    package = ["cdc_utils", *module.split(".")[:-1]]
    nodes = _at_import(tree) if only_top_level else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def _at_import(node):
    """The nodes that run when the module is imported: everything outside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        yield child
        yield from _at_import(child)


def ours(names):
    """Modules of this package among the names, without the package's own name."""
    return {name.removeprefix("cdc_utils.") for name in names if name.startswith("cdc_utils.")}


def is_or_in(name, module):
    return name == module or name.startswith(f"{module}.")


def broken_directions(module, source):
    """Every import of this module that the design forbids, as `what: why`."""
    everything, found = imports(source, module), []
    reached = {
        name for name in ours(everything) if any(is_or_in(name, known) for known in (*LIBRARY, "local"))
    }
    if module.split(".")[0] not in ("local", *MAY_IMPORT_LOCAL):
        found += [f"{name}: only local and cli import local" for name in reached if is_or_in(name, "local")]
    if module in ALLOWED:
        found += [
            f"{name}: {module} may import {sorted(ALLOWED[module])}"
            for name in reached
            if not any(is_or_in(name, allowed) for allowed in ALLOWED[module])
        ]
    found += [
        f"{name}: scripts import it and pass it as `dp`"
        for name in everything
        if is_or_in(name, "pyspark.pipelines")
    ]
    if module in SPARK_FREE:
        found += [
            f"{name}: {module} is importable without Spark"
            for name in imports(source, module, only_top_level=True)
            if is_or_in(name, "pyspark")
        ]
    if module in PURE:
        found += [
            f"{name}: of pyspark, pure chapters import pyspark.sql only"
            for name in everything
            if is_or_in(name, "pyspark") and name != "pyspark" and not is_or_in(name, "pyspark.sql")
        ]
    if module == "workspace":
        found += [
            f"{name}: the workspace never needs Spark" for name in everything if is_or_in(name, "pyspark")
        ]
    return sorted(found)


@pytest.mark.parametrize("module", sorted(LIBRARY))
def test_directions(module):
    assert broken_directions(module, LIBRARY[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "module, source",
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
        ("gold", "import cdc_utils.local.storage"),
        ("silver", "def conform():\n    from .local.session import local_spark"),
        ("bronze", "from .quality import kept"),
        ("workspace", "from cdc_utils.local import storage"),
        ("workspace", "from pyspark.sql import functions"),
        ("local.update", "import pyspark.pipelines as dp"),
        ("anything_new", "from cdc_utils import local"),
    ],
)
def test_a_wrong_direction_is_seen(module, source):
    assert broken_directions(module, source)


@pytest.mark.parametrize(
    "module, source",
    [
        ("customers", "from cdc_utils.spec import CdcSpec"),
        ("customers", "from .spec import CdcSpec"),
        ("silver", "from .quality import failed_rules\nfrom pyspark.sql import functions as F"),
        ("scd2", "from cdc_utils.spec import CdcSpec\nfrom cdc_utils.scd1 import current"),
        ("feed", "def frame(spark):\n    from pyspark.sql import Row"),
        ("local.update", "from ..scd2 import history\nfrom .storage import Storage"),
        ("cli", "from cdc_utils.local.update import run"),
    ],
)
def test_a_right_direction_is_allowed(module, source):
    assert broken_directions(module, source) == []


def test_spark_free_modules_import_where_spark_is_absent():
    modules = sorted(SPARK_FREE & set(LIBRARY))
    assert {"spec", "customers", "settings", "pipeline"} <= set(modules)
    code = (
        "import sys; sys.modules['pyspark'] = None\n"  # as if it were not installed
        f"import importlib; [importlib.import_module(f'cdc_utils.{{name}}') for name in {modules!r}]"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", sorted(PURE - SPARK_FREE))
def test_spark_modules_say_what_to_install(module):
    if module not in LIBRARY:
        pytest.skip(f"{module} is not written yet")
    code = f"import sys; sys.modules['pyspark'] = None\nimport cdc_utils.{module}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=PACKAGE.parent
    )
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
    assert done.returncode == 0 or last.startswith("ImportError") and "cdc-utils[local]" in last, done.stderr
