"Every published name and parameter of `dlt` and `dp` runs, runs with a warning, or is refused by its name."

import inspect
import json
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from pyspark import pipelines

from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import Location, PipelineError

PUBLISHED = tomllib.loads((Path(__file__).parent / "published_api.toml").read_text())
OUTCOMES = {"runs", "warns", "refused"}


def parameters_of(name):
    said = PUBLISHED[name]
    return PUBLISHED[said["like"]]["parameters"] if "like" in said else said.get("parameters", {})


def read(name: str) -> str:
    return f"rows of {name}"


@pytest.fixture
def declared():
    graph = Graph("main", "default", lambda: Location("a.py", 7))
    readers = {"read": read, "read_stream": read, "readStream": read}
    return graph, LakeflowModule("dlt", graph, readers)


def rows(): ...


# What a call needs, and a use of each parameter that is not there already
NEEDED = {
    "create_streaming_table": {"name": "t"},
    "create_sink": {"name": "t", "format": "delta"},
    "append_flow": {"target": "t"},
    "replace_flow": {"target": "t", "replace_using": ["id"], "sequence_by": "at"},
    "create_auto_cdc_flow": {"target": "t", "source": "s", "keys": ["id"], "sequence_by": "at"},
    "create_auto_cdc_from_snapshot_flow": {"target": "t", "source": "s", "keys": ["id"]},
    "expect": {"name": "known", "constraint": "id IS NOT NULL"},
    "expect_or_drop": {"name": "known", "constraint": "id IS NOT NULL"},
    "expect_or_fail": {"name": "known", "constraint": "id IS NOT NULL"},
    "expect_all": {"expectations": {"known": "id IS NOT NULL"}},
    "expect_all_or_drop": {"expectations": {"known": "id IS NOT NULL"}},
    "expect_all_or_fail": {"expectations": {"known": "id IS NOT NULL"}},
    "read": {"name": "t"},
    "read_stream": {"name": "t"},
}
EXAMPLES = {
    "query_function": rows,
    "user_event_hook_fn": rows,
    "handler": rows,
    "max_allowable_consecutive_failures": 3,
    "snapshot_and_version": rows,
    "spark_conf": {"spark.sql.shuffle.partitions": "4"},
    "table_properties": {"quality": "gold"},
    "options": {"path": "/x"},
    "partition_cols": ["day"],
    "cluster_by": ["day"],
    "replace_using": ["id"],
    "schema": "id INT",
    "format": "delta",
    "stored_as_scd_type": 2,
    "keys": ["id"],
}
EXAMPLES |= dict.fromkeys(("cluster_by_auto", "private", "temporary", "once", "ignore_null_updates"), True)
EXAMPLES |= dict.fromkeys(("expect_all", "expect_all_or_drop", "expect_all_or_fail"), {"known": "1 = 1"})


def arguments(function, parameter):
    "Arguments of a call that uses one parameter."
    given = dict(NEEDED.get(PUBLISHED[function].get("like", function), {}))
    value = EXAMPLES.get(parameter, ["city"] if parameter.endswith("column_list") else "x")
    if parameter == "inv":
        del given["constraint"]
    if parameter == "snapshot_and_version":
        del given["source"]
    if parameter.startswith("track_history"):
        given["stored_as_scd_type"] = 2
    if parameter == "column_list":
        value = ["id"]
    if function in ("table", "create_table") and parameter in ("replace_using", "sequence_by"):
        given |= {"replace_using": ["id"], "sequence_by": "at"}
    if parameter == "system_sequence_by":
        given["stored_as_scd_type"] = "bitemporal"
    return given | {parameter: given.get(parameter, value)}


def use(module, function, given):
    "Call a function; decorate one with what it returns, where that decorates."
    answer = getattr(module, function)(**given)
    return answer(rows) if callable(answer) and answer is not rows else answer


CASES = [(name, parameter) for name in PUBLISHED for parameter in parameters_of(name)]


@pytest.mark.parametrize("function, parameter", CASES)
def test_a_parameter_does_what_the_list_says(declared, function, parameter):
    graph, module = declared
    expected = parameters_of(function)[parameter]
    assert expected in OUTCOMES
    given = arguments(function, parameter)
    if expected == "refused":
        with pytest.raises(PipelineError, match=f"^a.py:7: .*`{parameter}`"):
            use(module, function, given)
        return
    use(module, function, given)
    named = [text for text in graph.warnings if parameter in text or function in text]
    assert named == graph.warnings and bool(named) == (expected == "warns")


@pytest.mark.parametrize("function", [name for name in PUBLISHED if PUBLISHED[name].get("refused")])
def test_a_name_that_is_refused_is_named(declared, function):
    with pytest.raises(PipelineError, match=f"^a.py:7: dlt has no `{function}`"):
        getattr(declared[1], function)


REFUSED_WHEN_CALLED = [name for name in PUBLISHED if PUBLISHED[name].get("refused_when_called")]


@pytest.mark.parametrize("function", REFUSED_WHEN_CALLED)
def test_a_function_that_is_refused_when_it_is_called_is_named(declared, function):
    with pytest.raises(PipelineError, match=f"^a.py:7: {function}()"):
        use(declared[1], function, {"target": "t"})


def test_the_list_is_complete(declared):
    public = {name for name in vars(declared[1]) if not name.startswith("_")}
    assert public == {name for name, said in PUBLISHED.items() if not said.get("refused")}
    for name in public:
        if PUBLISHED[name].get("refused_when_called"):
            continue
        ours = set(inspect.signature(getattr(declared[1], name)).parameters)
        listed = parameters_of(name)
        assert ours == {one for one in listed if one in ours or listed[one] != "refused"}, name


@pytest.mark.parametrize("name", pipelines.__all__)
def test_what_spark_publishes_is_on_the_list(name):
    assert "spark" in PUBLISHED[name]["published"]
    assert set(inspect.signature(getattr(pipelines, name)).parameters) <= set(parameters_of(name))


def test_positions_are_those_of_databricks_stub(declared):
    graph, module = declared
    module.create_streaming_table("t", "as it came", None, {"quality": "gold"})
    module.append_flow("backfill", "t", "older rows", None, True)(rows)
    module.apply_changes("u", "s", ["id"], "at", "at > 0", True, "op = 'D'")
    module.apply_changes_from_snapshot("v", "s", ["id"], "2", None, ["city"])
    assert graph.flows["backfill"].once and graph.flows["backfill"].target.table == "t"
    spec = graph.flows["main.default.u"].cdc_spec
    assert (graph.flows["main.default.u"].where, spec.ignore_null_updates) == ("at > 0", True)
    assert graph.flows["main.default.v"].cdc_spec.track_history_column_list == ("city",)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda dp: dp.append_flow(rows, target="t"), "write @dp.append_flow(target='…') above it"),
        (lambda dp: dp.append_flow(name="f"), "missing a required argument: 'target'"),
        (lambda dp: dp.table(format="parquet"), "`format` is 'parquet', and tables of a pipeline are Delta"),
        (lambda dp: dp.expect("known"), "rule 'known' has no constraint"),
        (lambda dp: dp.expect("known", "a", inv="b"), "rule 'known' has more than one constraint"),
        (lambda dp: dp.apply_changes_from_snapshot("t", keys=["id"]), "t has no `source`"),
        (
            lambda dp: dp.apply_changes_from_snapshot("t", "s", ["id"], snapshot_and_version=rows),
            "t has `source` and `snapshot_and_version`",
        ),
        (
            lambda dp: dp.apply_changes_from_snapshot("t", keys=["id"], snapshot_and_version=("s", 1)),
            "t: `source` is ['s', 1]; give the name of a table or view, or a function",
        ),
    ],
)
def test_a_wrong_use_says_what_to_write(declared, call, words):
    with pytest.raises(PipelineError, match="^a.py:7: ") as raised:
        call(declared[1])
    assert words in str(raised.value)


def written_in_what_runs_where():
    "The table of the list, as the page has it."
    rows = ["| `dp` and `dlt` | runs | runs with a warning | refused by name |", "|---|---|---|---|"]
    for name, said in PUBLISHED.items():
        if "like" in said:
            rows.append(f"| `{name}` | as `{said['like']}` | | |")
            continue
        given = said.get("parameters", {})
        runs, warns, refused = (
            ", ".join(f"`{one}`" for one, outcome in given.items() if outcome == kind)
            for kind in ("runs", "warns", "refused")
        )
        whole = "all of it" if said.get("refused") or said.get("refused_when_called") else ""
        rows.append(f"| `{name}` | {runs or ('' if whole else 'yes')} | {warns} | {whole or refused} |")
    return "\n".join(rows)


def test_what_runs_where_has_the_list():
    page = Path(__file__).parents[2] / "nbs/16_what_runs_where.ipynb"
    text = "\n".join("".join(cell["source"]) for cell in json.loads(page.read_text())["cells"])
    assert written_in_what_runs_where() in text, written_in_what_runs_where()
