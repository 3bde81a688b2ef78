"`cdc prove` on pipelines: what is well made holds, and each common mistake is shown by a few rows."

import json
import os
import random
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql.types import StructType

from cdc_local.engines.spark.session import local_spark
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations import prove as proving
from cdc_local.operations import prove_feeds as feeding
from cdc_local.operations.prove import (
    RERUNS,
    Finding,
    Trial,
    broken_law,
    choose_flows,
    describe_difference,
    find_ties,
    law_of_pairs,
    laws_of_content,
    laws_of_order,
    play_delivery,
    prove_laws,
    read_outcome,
    reference_rows,
    shrink_delivery,
    source_events,
    write_probes,
)
from cdc_local.operations.prove_feeds import (
    Event,
    Input,
    Plan,
    Survey,
    choose_deletes,
    file_text,
    json_value,
    land_batch,
    made_feed,
    make_key_events,
    own_feed,
    plan_input,
    replace_name,
    survey_pipeline,
    typed_table,
    upstream_of,
)
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_utils.spec import CdcSpec

deep = pytest.mark.skipif(
    "PROVE" not in os.environ, reason="a dozen updates and more: make prove ARGS=pipelines"
)
ROOT = Path(__file__).resolve().parents[2]
MISTAKES = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def files():
    found = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").schema("id int, city string, at timestamp")
    return found.load("/Volumes/main/default/raw/moves")

@dp.temporary_view
def moves(): return files()

@dp.temporary_view
def first_moves(): return files().dropDuplicates(["id"])

def declare(target, source, sequence):
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target, source, ["id"], sequence, column_list=["id", "city"])

declare("by_arrival", "first_moves", "at")
declare("by_day", "moves", "to_date(at)")
declare("by_clock", "moves", F.expr("current_timestamp()"))
"""


@deep
def test_mistakes_are_caught_with_a_few_rows(tmp_path):
    (tmp_path / "moves.py").write_text(MISTAKES)
    findings = {
        (found.table, found.law): found
        for found in prove_laws(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"), events=24)
    }

    def broken(table):
        return {law for name, law in findings if name == table and findings[name, law].verdict == "breaks"}

    assert {"order", "batches"} <= broken("by_arrival") and "no ties" not in broken("by_arrival")
    assert broken("by_day") == {"no ties"}
    assert {"batches", "no ties"} <= broken("by_clock")
    for found in findings.values():
        if found.verdict == "breaks" and found.events:
            assert sum(map(len, found.events)) <= 8 and found.expected != found.found, found
    assert any(found.events for (table, law), found in findings.items() if table == "by_arrival")
    assert not (tmp_path / "none").exists()


@deep
def test_this_projects_pipeline_holds():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cdc_local.cli.main import main; main()",
            "prove",
            "transformations",
            "--events",
            "120",
            "--format",
            "json",
            "--storage",
            "no-such-storage",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(found["table"], found["law"]) for found in findings if found["verdict"] == "holds"} >= {
        (table, law)
        for table in ("customers", "customers_history")
        for law in ("order", "batches", "repeats", "reference", "no ties")
    }
    assert ("customers", "current = open history", "holds") in {
        (found["table"], found["law"], found["verdict"]) for found in findings
    }


def test_what_cannot_be_generated_is_named(tmp_path):
    (tmp_path / "moves.py").write_text(MISTAKES.replace('.schema("id int, city string, at timestamp")', ""))
    with pytest.raises(
        UsageError, match="no feed can be made for /Volumes/main/default/raw/moves: its schema is inferred"
    ):
        prove_laws(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"))


# --- what a pipeline declares, surveyed once ------------------------------------------------------------------------------------------------

SURVEYED = """
from pyspark import pipelines as dp
@dp.table
@dp.expect_or_drop('known', "city IN ('Oslo', 'Bern')")
@dp.expect('either', "city <> 'Oslo' OR op <> 'X'")
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return files.schema('id int, city string, op string, at timestamp').load('/Volumes/main/default/raw/moves')
@dp.temporary_view
def named(): return spark.readStream.table('landed').join(spark.read.table('names'), 'id', 'left')
for target, source, rule in (('now', 'named', "op = 'D'"), ('later', 'arrivals', None)):
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target, source, ['id'], 'at', apply_as_deletes=rule)
"""


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    stored = Storage(folder / "stored").create()
    for name in ("names", "arrivals"):
        write_deltalake(
            str(stored.table_path(table(name))),
            pa.table({"id": pa.array([1], pa.int32()), "name": ["Ann"], "at": [1]}).select(
                ["id", "name"] if name == "names" else ["id", "at"]
            ),
        )
    (folder / "flows.py").write_text(SURVEYED.lstrip())
    return survey_pipeline(UpdateRequest((str(folder / "flows.py"),), stored.root), folder / "survey"), stored


@pytest.fixture(scope="module")
def spark():
    return local_spark()


def table(name):
    return TableName("main", "default", name)


def test_a_survey_tells_what_flows_read_and_which_tables_are_copied(surveyed):
    found, stored = surveyed
    assert {
        name.split(".")[-1]: [(each.place, each.file_format) for each in places]
        for name, places in found.inputs.items()
    } == {
        "landed": [("Volumes/main/default/raw/moves", "json")],
        "later": [("main.default.arrivals", "table")],
    }
    assert found.tables == {table("names"): stored.table_path(table("names"))}
    flows, places, left = choose_flows(found)
    assert ([flow.target.table for flow in flows], [place.file_format for place in places], left) == (
        ["now", "later"],
        ["json", "table"],
        [],
    )
    now = next(flow for flow in flows if flow.target == table("now"))
    assert (
        found.columns[now.name].names == ["id", "city", "op", "at", "name"]
        and table("landed") in found.reads[now.name]
    )


def test_a_plan_follows_the_rules_of_the_pipeline(surveyed, spark):
    found, _ = surveyed
    flows, places, _ = choose_flows(found)
    made = plan_input(spark, found, flows[0], places[0])
    assert (made.keys, made.sequence, made.pools) == (("id",), ("at",), {"city": ["Oslo", "Bern", None]})
    assert made.deletes == [{"op": "D"}] and {"op": None} in made.upserts and {"op": "D"} not in made.upserts


def test_a_delete_rule_is_asked_in_any_spelling(spark):
    columns = StructType.fromDDL("ID int, OP string")
    assert choose_deletes(spark, columns, "op = 'D'", [{"Op": "U"}, {"Op": "D"}, {"Op": None}]) == [
        False,
        True,
        False,
    ]
    assert replace_name(columns["OP"], "op").name == "op"


# --- feeds and deliveries -------------------------------------------------------------------------------------------------------------------

MOVES = Input(
    "Volumes/main/default/raw/moves",
    "json",
    StructType().add("id", "integer").add("city", "string").add("at", "integer"),
)


def moves(*rows):
    return [Event(0, (str(row[0]),), tuple(zip(("id", "city", "at"), row))) for row in rows]


@pytest.mark.parametrize(
    "text, kind, value",
    [
        ("false", "boolean", False),
        ("true", "boolean", True),
        ("1.5", "double", 1.5),
        ("7", "integer", 7),
        ("7", "string", "7"),
        (None, "integer", None),
        (3, "integer", 3),
    ],
)
def test_values_for_json(text, kind, value):
    found = json_value(text, StructType().add("x", kind)["x"].dataType)
    assert (found, type(found)) == (value, type(value))


def test_moments_of_a_key_are_unique_and_rise():
    made = Plan(
        ("id",),
        ("at",),
        {"city": ["Oslo", None]},
        [],
        [{}],
        {field.name: field.dataType for field in MOVES.schema},
    )
    for seed in range(40):
        at = [
            dict(event.row)["at"] for event in make_key_events(random.Random(seed), 0, 1, made, MOVES.schema)
        ]
        assert at == sorted(set(at))


def test_a_feed_mixes_keys_and_inputs_and_keeps_the_time_of_a_key(monkeypatch):
    made = Plan(("id",), ("at",), {}, [], [{}], {field.name: field.dataType for field in MOVES.schema})
    monkeypatch.setattr(feeding, "plan_input", lambda *_: made)
    graph = SimpleNamespace(flows={"f": SimpleNamespace(name="f", target="t")})
    found = Survey(graph, {"f": [MOVES, replace(MOVES, place="other")]}, {}, {}, {})
    feed = made_feed(None, found, [graph.flows["f"]], found.inputs["f"], 60, random.Random(1))
    assert 60 <= len(feed) < 70 and {event.place for event in feed} == {0, 1}
    for key in {event.key for event in feed}:
        at = [dict(event.row)["at"] for event in feed if event.key == key]
        assert at == sorted(at)
    assert [event.key for event in feed] != sorted(event.key for event in feed)


def test_a_feed_of_the_user(tmp_path):
    for name, text in (
        ("b.json", '{"ID": 2}\n'),
        ("a.json", '{"ID": 1, "at": 2}\n\n{"ID": 1\n'),
        ("_c.json", '{"ID": 3}\n'),
    ):
        (tmp_path / name).write_text(text)
    feed = own_feed(tmp_path, [MOVES], ("id",))
    assert [(event.key, event.row) for event in feed] == [
        (("1",), (("\0", '{"ID": 1, "at": 2}'),)),
        (("None",), (("\0", '{"ID": 1'),)),
        (("2",), (("\0", '{"ID": 2}'),)),
    ]
    with pytest.raises(UsageError, match="one folder of JSON lines"):
        own_feed(tmp_path, [MOVES, MOVES], ("id",))


def test_each_input_gets_its_own_rows(tmp_path):
    storage = Storage(tmp_path).create()
    events = [*moves((1, "Bern", 1)), *[event._replace(place=1) for event in moves((2, "Oslo", 2))]]
    land_batch(
        storage,
        [MOVES, replace(MOVES, place="Volumes/other", file_format="csv", options=(("header", "true"),))],
        events,
        "001",
    )
    texts = {
        str(path.relative_to(tmp_path)): path.read_text() for path in (tmp_path / "Volumes").rglob("*.*")
    }
    assert texts == {
        "Volumes/main/default/raw/moves/001.json": '{"id": 1, "city": "Bern", "at": 1}\n',
        "Volumes/other/001.csv": "id,city,at\n2,Oslo,2\n",
    }
    assert (
        file_text([{"id": 2, "at": 3}], replace(MOVES, file_format="csv", options=(("sep", ";"),)))
        == "2;;3\n"
    )


def test_rows_for_a_delta_table_are_typed():
    schema = pa.schema(
        [
            ("id", pa.int32()),
            ("at", pa.timestamp("us", tz="UTC")),
            ("local", pa.timestamp("us")),
            ("city", pa.string()),
        ]
    )
    rows = typed_table([{"id": 7, "at": "2026-01-01T07:00:00.000Z", "local": "2026-01-01T07:00:00"}], schema)
    assert rows.schema == schema
    assert rows.to_pylist() == [
        {
            "id": 7,
            "at": datetime(2026, 1, 1, 7, tzinfo=UTC),
            "local": datetime(2026, 1, 1, 7),
            "city": None,
        }
    ]


# --- playing, comparing, shrinking ----------------------------------------------------------------------------------------------------------


def flow(target, source, kind=1, **spec):
    return SimpleNamespace(
        name=target,
        target=table(target),
        once=False,
        kind="auto_cdc",
        spec=CdcSpec(target, source, ["id"], "at", stored_as_scd_type=kind, **spec),
    )


def trial(folder, *flows, **changes):
    graph = SimpleNamespace(flows={each.name: each for each in flows})
    found = Survey(graph, {each.name: [MOVES] for each in flows}, {}, {}, {})
    return Trial(
        UpdateRequest(("src",), folder / "none"),
        found,
        [MOVES],
        list(flows),
        folder,
        lambda line: None,
        **changes,
    )


def test_flows_behind_a_flow():
    flows = {name: SimpleNamespace(name=name, target=f"table {name}") for name in "abcd"}
    found = Survey(
        SimpleNamespace(flows=flows),
        {},
        {"c": {"table b"}, "b": {"table a", "a view"}, "a": set(), "d": {"table c"}},
        {},
        {},
    )
    assert upstream_of(found, "c") == ["c", "b", "a"]


def test_flows_that_no_feed_reaches_are_left_out_by_name():
    flows = [flow("one", "s"), flow("two", "s"), flow("never", "s"), flow("past", "s")]
    flows[3].once = True
    found = Survey(
        SimpleNamespace(flows={each.name: each for each in flows}),
        {name: [MOVES] for name in ("one", "two", "past")},
        {},
        {},
        {},
    )
    chosen, places, left = choose_flows(found)
    assert ([each.name for each in chosen], places) == (["one", "two"], [MOVES])
    assert [(each.table, each.why[:20]) for each in left] == [
        ("never", "no feed can be made:"),
        ("past", "flow past runs once,"),
    ]


def test_every_source_has_a_probe(tmp_path):
    played = trial(tmp_path, flow("now", "landed"), flow("history", "landed", 2), flow("other", "crm.moves"))
    assert played.probes() == {"crm.moves": "__proof_0", "landed": "__proof_1"}
    write_probes(played)
    declared = (tmp_path / "probes/probes.py").read_text()
    assert "@dp.table(name='__proof_1')\ndef proof_1(): return spark.readStream.table('landed')\n" in declared


def test_a_delivery_lands_batch_by_batch_in_a_storage_of_its_own(tmp_path, monkeypatch):
    requests, played = [], trial(tmp_path, flow("now", "landed"))

    def update(request):
        requests.append(
            (
                request,
                sorted(path.name for path in request.storage.rglob("*.json") if path.parent.name == "moves"),
            )
        )
        return SimpleNamespace(state="COMPLETED" if len(requests) < 4 else "FAILED", error="boom")

    monkeypatch.setattr(proving, "run_update", update)
    batches = [moves((1, "Bern", 1)), moves((2, "Oslo", 1))]
    first = play_delivery(played, batches)
    assert [files for _, files in requests] == [["001.json"], ["001.json", "002.json"]]
    assert (
        requests[0][0].refresh == ("main.default.__proof_0", "main.default.now")
        and requests[0][0].storage == first.root
    )
    assert play_delivery(played, batches[:1]).root != first.root and played.updates == 3
    with pytest.raises(PipelineError, match="failed on a generated feed: boom"):
        play_delivery(played, batches)


def test_outcomes_are_compared_key_by_key(tmp_path):
    storage = Storage(tmp_path).create()
    write_deltalake(
        str(storage.table_path(table("t"))), pa.table({"B": [2, 1, 1], "a": ["x", "y", "y"], "n": [1, 3, 2]})
    )
    before = read_outcome(storage, table("t"), ("b", "a"))
    assert list(map(len, (before[("1", "y")], before[("2", "x")]))) == [2, 1] and before[
        ("1", "y")
    ] == sorted(before[("1", "y")])
    assert (
        describe_difference(before, before | {("3", "z"): ["row"]})
        == [("3", "z")]
        == describe_difference(before | {("3", "z"): ["row"]}, before)
    )


def events_of(monkeypatch, spark, rows):
    "Let the probes hold rows."
    monkeypatch.setattr(proving, "update_session", lambda request: nullcontext(spark))
    monkeypatch.setattr(
        proving,
        "read_stored",
        lambda spark, path: spark.createDataFrame(rows, "id int, city string, at int, op string"),
    )


def test_the_batch_formulation_is_of_the_flows_of_the_table(tmp_path, monkeypatch, spark):
    played = trial(
        tmp_path,
        flow("now", "landed", apply_as_deletes="op = 'D'", except_column_list=["op"]),
        flow("other", "landed"),
    )
    events_of(
        monkeypatch, spark, [(1, "Bern", 2, "U"), (1, "Lyon", 1, "U"), (2, "Oslo", 1, "U"), (2, None, 2, "D")]
    )
    target, events = source_events(played, Storage(tmp_path), table("now"))
    assert (target.spec.target, events.count()) == ("now", 4)
    assert reference_rows(played, Storage(tmp_path), table("now")) == {
        ("1",): ['{"id": 1, "city": "Bern", "at": 2}']
    }


def test_copies_are_no_ties(tmp_path, monkeypatch, spark):
    played = trial(tmp_path, flow("now", "landed"))
    events_of(monkeypatch, spark, [(1, "Bern", 1, "U"), (1, "Bern", 1, "U"), (2, "Oslo", 1, "U")])
    assert find_ties(played, Storage(tmp_path), table("now")) == []
    events_of(monkeypatch, spark, [(1, "Bern", 1, "U"), (1, "Lyon", 1, "U"), (1, "Lyon", 1, "U")])
    assert [json.loads(each)["city"] for each in find_ties(played, Storage(tmp_path), table("now"))] == [
        "Bern",
        "Lyon",
    ]


def first_wins(monkeypatch, plays):
    "A pipeline that keeps the row of a key that arrives first, but only where a key is no 5."

    def outcome(batches, name, keys):
        found = {}
        for event in (event for batch in batches for event in batch):
            found.setdefault(event.key, [dict(event.row)["city"]])
        return found

    monkeypatch.setattr(proving, "play_delivery", lambda trial, batches: plays.append(batches) or batches)
    monkeypatch.setattr(proving, "read_outcome", outcome)

    def newest(batches):
        return {
            event.key: [dict(event.row)["city"]]
            for event in sorted(
                (event for batch in batches for event in batch),
                key=lambda event: (event.key, dict(event.row)["at"]),
            )
        }

    return newest


def test_a_counterexample_is_small_and_alone(tmp_path, monkeypatch):
    plays = []
    expect = first_wins(monkeypatch, plays)
    rows = moves(
        (5, "Ulm", 1), (1, "Oslo", 3), (1, "Bern", 4), (2, "Kyiv", 1), (2, "Rome", 2), (2, "Lyon", 3)
    )
    batches, expected, found = shrink_delivery(
        trial(tmp_path, flow("now", "landed")),
        table("now"),
        [rows[:4], rows[4:]],
        [("5",), ("1",), ("2",)],
        expect,
    )
    assert (batches, expected, found) == ([moves((1, "Oslo", 3), (1, "Bern", 4))], ("Bern",), ("Oslo",))
    assert len(plays) <= RERUNS + 1
    assert (
        shrink_delivery(trial(tmp_path, flow("now", "landed")), table("now"), [rows], [("5",)], expect)
        is None
    )


def test_a_broken_law_is_told_with_its_small_story(tmp_path, monkeypatch):
    small = ([moves((1, "Oslo", 2)), moves((1, "Bern", 1))], ("expected",), ("found",))
    monkeypatch.setattr(proving, "shrink_delivery", lambda *_: small)
    told = broken_law(
        trial(tmp_path),
        "order",
        table("now"),
        3,
        [moves((1, "Oslo", 2), (7, "Ulm", 1))],
        [("1",), ("7",)],
        None,
    )
    assert told == Finding(
        "order",
        "now",
        "breaks",
        3,
        "2 keys differ",
        (('{"id": 1, "city": "Oslo", "at": 2}',), ('{"id": 1, "city": "Bern", "at": 1}',)),
        ("expected",),
        ("found",),
    )
    assert (told.events[0], told.expected, told.found) == (
        ('{"id": 1, "city": "Oslo", "at": 2}',),
        ("expected",),
        ("found",),
    )


def test_every_delivery_is_compared_with_the_one_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(proving, "read_outcome", lambda storage, name, keys: storage)
    monkeypatch.setattr(
        proving, "broken_law", lambda trial, law, name, cases, *_: Finding(law, name.table, "breaks", cases)
    )
    right, wrong = {("1",): ["a"]}, {("1",): ["b"]}
    played = {
        "order": [([], right), ([], right)],
        "batches": [([], wrong), ([], right)],
        "repeats": [([], right), ([], wrong)],
    }
    findings = laws_of_order(trial(tmp_path, flow("now", "landed")), table("now"), right, played)
    assert [(each.law, each.verdict, each.cases) for each in findings] == [
        ("order", "holds", 2),
        ("batches", "breaks", 1),
        ("repeats", "breaks", 2),
    ]
    assert findings[2].why == "1 keys differ; mend the law that has a counterexample first"


@pytest.mark.parametrize(
    "reference, ties, verdicts",
    [
        ({}, [], ["holds", "holds"]),
        ({("1",): ["a"]}, [], ["breaks", "holds"]),
        ({}, ["a", "b"], ["holds", "breaks"]),
    ],
)
def test_content_and_ties(tmp_path, monkeypatch, reference, ties, verdicts):
    monkeypatch.setattr(proving, "reference_rows", lambda *_: reference)
    monkeypatch.setattr(proving, "find_ties", lambda *_: ties)
    monkeypatch.setattr(
        proving, "broken_law", lambda trial, law, name, cases, *_: Finding(law, name.table, "breaks", cases)
    )
    findings = laws_of_content(trial(tmp_path, flow("now", "landed")), table("now"), {}, None, [])
    assert [(each.law, each.verdict) for each in findings] == list(zip(("reference", "no ties"), verdicts))


def test_a_current_table_is_compared_with_the_open_rows_of_its_history(tmp_path, monkeypatch):
    rows = {
        "now": [{"id": 1, "city": "Bern"}],
        "history": [{"id": 1, "city": "Lyon", "__END_AT": 2}, {"id": 1, "city": "Bern", "__END_AT": None}],
    }
    monkeypatch.setattr(
        proving, "read_table", lambda storage, name: SimpleNamespace(to_pylist=lambda: rows[name.table])
    )
    flows = (
        flow("now", "landed"),
        flow("history", "landed", 2),
        flow("alone", "other"),
        flow("emptied", "landed", apply_as_truncates="op = 'T'"),
    )

    def verdicts():
        return [(each.table, each.verdict, each.why) for each in law_of_pairs(trial(tmp_path, *flows), None)]

    assert verdicts() == [
        ("now", "holds", "with history"),
        ("alone", "not applicable", "no SCD 2 table has its source, keys and sequence"),
        ("emptied", "not applicable", "a history is not truncated"),
    ]
    rows["now"] = [{"id": 1, "city": "Lyon"}]
    assert verdicts()[0] == ("now", "breaks", "1 keys differ")


def test_a_table_with_two_flows_is_tried_once_and_one_without_rows_is_told(tmp_path, monkeypatch):
    flows, outcomes = [flow("now", "landed"), flow("now", "landed")], iter([{("1",): ["row"]}, {}])
    found = trial(tmp_path, *flows).found
    for name, answer in (
        ("survey_pipeline", found),
        ("choose_flows", (flows, [MOVES], ["left out"])),
        ("write_probes", None),
        ("update_session", nullcontext()),
        ("made_feed", moves((1, "Bern", 1), (2, "Oslo", 1))),
        ("play_delivery", "storage"),
        ("laws_of_order", ["order"]),
        ("laws_of_content", ["content"]),
        ("law_of_pairs", ["pairs"]),
    ):
        monkeypatch.setattr(proving, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(proving, "read_outcome", lambda *_: next(outcomes))
    request = UpdateRequest(("src",), tmp_path / "none")
    assert prove_laws(request) == ["left out", "order", "content", "pairs"]
    with pytest.raises(UsageError, match="no row of the feed reached main.default.now"):
        prove_laws(request)
