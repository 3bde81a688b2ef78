"""The scripts in `transformations/`: thin, one dataset each, the same file wherever they run."""

import ast
import inspect
import re
import runpy
import sys
import types
from pathlib import Path

import pytest

from cdc_utils import customers

FOLDER = Path(__file__).parents[1] / "transformations"
SCRIPTS = sorted(FOLDER.glob("*.py"))
DATASETS = ("table", "materialized_view", "create_streaming_table")
CONF = {"cdc.catalog": "lab", "cdc.schema": "cdc_test"}


def faults(source):
    """What is wrong with a script, as sentences."""
    tree = ast.parse(source)
    found = [] if len(source.splitlines()) <= 25 else ["it is longer than 25 lines"]
    if not ast.get_docstring(tree):
        found.append("it has no docstring")
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    if not body or ast.unparse(body[0]) != "from pyspark import pipelines as dp":
        found.append("its first statement is not `from pyspark import pipelines as dp`")
    return found + _import_faults(tree) + _session_faults(tree) + _literal_faults(tree)


def _import_faults(tree):
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [
        f"it imports {module}"
        for module in modules
        if module.split(".")[0] not in ("pyspark", "cdc_utils") or module.startswith("cdc_local")
    ]


def _session_faults(tree):
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    stored = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    asked = names & {
        "SparkSession",
        "builder",
        "getOrCreate",
        "getActiveSession",
        "SparkContext",
        "sparkContext",
        "local_spark",
        "start_spark",
    }
    return [f"it asks for a session: {name}" for name in sorted(asked)] + (
        ["it sets spark"] if "spark" in stored else []
    )


def _literal_faults(tree):
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]
    found = [
        f"it holds a path: {text!r}"
        for text in texts
        if "/" in text or re.match(r"(dbfs|s3a?|abfss?|gs|file):", text)
    ]
    names = (r"\w+\.\w+(\.\w+)?", r"(dev|prod|staging|main|hive_metastore)")
    found += [
        f"it holds a catalog or a schema: {text!r}"
        for text in texts
        if any(re.fullmatch(name, text) for name in names)
        and not text.startswith(("pipelines.", "delta.", "spark."))
    ]
    return found


class Recorder(types.ModuleType):
    """In the place of `pyspark.pipelines`: keeps every declaration; decorators give the function back."""

    def __init__(self):
        super().__init__("pyspark.pipelines")
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def declare(*positional, **named):
            self.calls.append((name, positional, named))
            return lambda function: self.calls.append((name, function.__name__)) or function

        return declare


class Spark:
    """In the place of `spark`: only its configuration may be asked for while a script is loaded."""

    conf = CONF


@pytest.fixture
def declared(monkeypatch):
    """Run a script as Lakeflow would, `spark` in its globals; its declarations, and the globals it leaves."""
    import pyspark

    def run(script):
        recorder = Recorder()
        monkeypatch.setitem(sys.modules, "pyspark.pipelines", recorder)
        monkeypatch.setattr(pyspark, "pipelines", recorder, raising=False)
        return recorder.calls, runpy.run_path(str(script), init_globals={"spark": Spark()})

    return run


def names_declared(calls):
    """Datasets that the calls declare, and targets that they feed."""
    created = [call[1][0] for call in calls if call[0] == "create_streaming_table"]
    decorated = [
        call[1] for call in calls if call[0] in ("table", "materialized_view") and isinstance(call[1], str)
    ]
    return created + decorated


def test_the_six_scripts_are_there():
    assert [script.stem for script in SCRIPTS] == [
        "customers",
        "customers_cdc_bronze",
        "customers_cdc_clean",
        "customers_cdc_quarantine",
        "customers_history",
        "customers_history_agg",
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_thin(script):
    assert faults(script.read_text(encoding="utf-8")) == []


GOOD = '"""Doc."""\nfrom pyspark import pipelines as dp\n'


@pytest.mark.parametrize(
    "source, fault",
    [
        ("from pyspark import pipelines as dp\n", "it has no docstring"),
        ('"""Doc."""\nfrom cdc_utils import spec\nfrom pyspark import pipelines as dp\n', "first statement"),
        ('"""Doc."""\nimport dlt\n', "first statement"),
        (GOOD + "import os\n", "it imports os"),
        (GOOD + "from .near import thing\n", "it imports near"),
        (
            GOOD + "from cdc_local.engines.spark.session import start_spark\n",
            "it imports cdc_local.engines.spark.session",
        ),
        (GOOD + "from pyspark.sql import SparkSession\n", "it asks for a session: SparkSession"),
        (
            GOOD + "import pyspark\ns = pyspark.sql.SparkSession.builder.getOrCreate()\n",
            "it asks for a session: getOrCreate",
        ),
        (GOOD + "spark = None\n", "it sets spark"),
        (GOOD + 'spark.read.load("/Volumes/a/b/c")\n', "it holds a path"),
        (GOOD + 'spark.read.load("s3:bucket")\n', "it holds a path"),
        (GOOD + 'spark.read.table("main.cdc.customers")\n', "it holds a catalog or a schema"),
        (GOOD + 'spark.read.table("cdc.customers")\n', "it holds a catalog or a schema"),
        (GOOD + 'catalog = "prod"\n', "it holds a catalog or a schema"),
        (GOOD + "x = 1\n" * 30, "it is longer than 25 lines"),
    ],
)
def test_a_fault_is_seen(source, fault):
    assert any(fault in each for each in faults(source)), faults(source)


def test_what_is_allowed():
    assert (
        faults(
            GOOD
            + 'dp.create_streaming_table("customers", '
            + 'table_properties={"pipelines.reset.allowed": "false"})\n'
        )
        == []
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_declares_the_dataset_it_is_named_after(script, declared):
    calls, _ = declared(script)
    assert names_declared(calls) == [script.stem]


def test_bronze_outlives_a_full_refresh(declared):
    calls, _ = declared(FOLDER / "customers_cdc_bronze.py")
    properties = next(call[2]["table_properties"] for call in calls if call[0] == "create_streaming_table")
    assert properties == {"quality": "bronze", "pipelines.reset.allowed": "false"}
    flow = next(call[2] for call in calls if call[0] == "append_flow")
    assert flow == {"target": "customers_cdc_bronze", "name": "customers_bronze_ingest_flow"}


def test_bronze_reads_the_folder_of_the_configuration(declared, monkeypatch):
    _, left = declared(FOLDER / "customers_cdc_bronze.py")
    asked = []
    monkeypatch.setattr(left["bronze"], "read_changes", lambda *arguments: asked.append(arguments))
    left["customers_bronze_ingest_flow"]()
    assert asked == [(left["spark"], "/Volumes/lab/cdc_test/raw_data/customers", customers.SCHEMA)]


def test_clean_and_quarantine_judge_the_same_rows_by_the_same_rules(declared, monkeypatch):
    calls, clean = declared(FOLDER / "customers_cdc_clean.py")
    assert ("expect_all_or_drop", (customers.RULES,), {}) in calls
    _, quarantine = declared(FOLDER / "customers_cdc_quarantine.py")
    conformed, judged = [], []
    monkeypatch.setattr(
        clean["silver"], "conform", lambda *frame, **how: conformed.append((frame, how)) or frame
    )
    monkeypatch.setattr(
        quarantine["quality"], "quarantine", lambda frame, rules: judged.append((frame, rules))
    )
    stream = types.SimpleNamespace(table=lambda name: f"stream of {name}")
    for left in (clean, quarantine):
        left["spark"].readStream = stream
    clean["customers_cdc_clean"]()
    quarantine["customers_cdc_quarantine"]()
    assert conformed == [(("stream of customers_cdc_bronze",), customers.CONFORM)] * 2
    assert judged == [(("stream of customers_cdc_bronze",), customers.RULES)]


@pytest.mark.parametrize(
    "name, spec", [("customers", customers.CURRENT), ("customers_history", customers.HISTORY)]
)
def test_the_targets_are_fed_as_their_specs_say(name, spec, declared):
    calls, _ = declared(FOLDER / f"{name}.py")
    assert [call[2] for call in calls if call[0] == "create_auto_cdc_flow"] == [spec.flow()]


def test_gold_counts_the_history(declared, monkeypatch):
    _, left = declared(FOLDER / "customers_history_agg.py")
    asked = []
    monkeypatch.setattr(left["gold"], "changes_per_key", lambda *arguments: asked.append(arguments))
    left["spark"].read = types.SimpleNamespace(table=lambda name: f"rows of {name}")
    left["customers_history_agg"]()
    assert asked == [("rows of customers_history", ("id",), customers.COUNTED)]


def test_what_is_declared_fits_sparks_own_functions(declared):
    """Spark's own module has the functions with these parameters; it lacks only expectations and SCD 2."""
    api = pytest.importorskip("pyspark.pipelines.api", exc_type=ImportError)
    for script in SCRIPTS:
        for call in declared(script)[0]:
            function = getattr(api, call[0], None)
            if len(call) == 3 and function is not None:
                inspect.signature(function).bind(*call[1], **call[2])
