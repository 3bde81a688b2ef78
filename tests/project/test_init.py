"What `cdc init` finds in a sample, what it asks, what it refuses; no pipeline is run."

import ast
import json

import pytest
import samples

from cdc_local.errors import UsageError
from cdc_local.project.files import render
from cdc_local.project.kinds import KINDS, recognise
from cdc_local.project.options import Options, UnclearError
from cdc_local.project.plan import make_plan, parse_columns
from cdc_local.project.sample import read_sample
from cdc_local.project.types import connect_type, postgres_type, suggest_type
from cdc_utils.envelopes.mock_feeds import form_of
from cdc_utils.feed import write_feed

MOCKS = [name for name, kind in KINDS.items() if kind.mock]


def sample_of(folder, *rows, name="rows.json"):
    samples.write_lines(folder / name, rows)
    return read_sample(folder / name)


def plan_of(sample, **options):
    return make_plan(Options(**options), sample)


@pytest.mark.parametrize("name", MOCKS)
def test_a_tool_is_known_by_the_shape_of_its_rows(tmp_path, name):
    write_feed(tmp_path, rows=200, files=2, form=form_of(KINDS[name].mock))
    sample = read_sample(tmp_path)
    assert recognise(sample) == [name]
    plan = plan_of(sample, table="customers")
    assert (plan.keys, list(plan.columns)) == (("id",), ["id", "firstname", "lastname", "email", "address"])
    assert plan.source is not None and plan.operations["insert"] > 20
    for path, text in render(plan, "shop", "main", "").items():
        if path.endswith(".py"):
            ast.parse(text)


@pytest.mark.parametrize("name", ["debezium", "dms", "sqlserver", "wal2json", "airbyte", "snapshots"])
def test_a_sample_says_its_key_and_types(tmp_path, name):
    getattr(samples, name)(tmp_path / "orders")
    plan = plan_of(read_sample(tmp_path / "orders"), table="orders")
    assert plan.keys == ("id",)
    assert plan.columns["id"] == ("int" if name == "wal2json" else "bigint")
    assert plan.columns["status"] == "string"


def test_debezium_says_types_in_its_schema(tmp_path):
    samples.debezium(tmp_path)
    plan = plan_of(read_sample(tmp_path))
    assert plan.columns == {"id": "bigint", "status": "string", "total": "decimal(10,2)"}
    assert (plan.table, str(plan.envelope)) == ("orders", "debezium.POSTGRES")


@pytest.mark.parametrize(
    "row, envelope",
    [
        ({"Op": "I", "seq": "2" * 35, "id": 1}, 'dms.dms(change_seq="seq")'),
        ({"__op": "c", "__source_lsn": 7, "id": 1}, 'unwrapped(envelope=debezium.POSTGRES, fields={"lsn"'),
        ({"__$operation": 2, "__$start_lsn": "AAAAAAAAAAAAAQ==", "id": 1}, '(lsn="base64", reader="net")'),
        ({"_ab_cdc_updated_at": "x", "_ab_cdc_log_file": "b.1", "id": 1}, 'airbyte_table(database="mysql")'),
        ({"op": "c", "source": {"connector": "mongodb"}, "after": '{"_id": 1}'}, "debezium.MONGODB"),
        ({"database": "a", "table": "b", "type": "insert", "data": {"id": 1}}, "maxwell.MAXWELL"),
    ],
)
def test_an_envelope_gets_its_arguments_from_the_rows(tmp_path, row, envelope):
    assert envelope in str(plan_of(sample_of(tmp_path, row, row)).envelope)


@pytest.mark.parametrize(
    "rows, options, option, words",
    [
        ([{"id": 1, "city": "Oslo"}], {}, "kind", "no envelope.*plain, snapshots"),
        (
            [{"Op": "I", "_fivetran_synced": 1, "_fivetran_deleted": False, "id": 1}],
            {},
            "kind",
            "may be AWS DMS or a table of Fivetran",
        ),
        ([{"Op": "I", "id": 1}], {}, "sequence", "35 digits"),
        (
            [{"METADATA$ACTION": "INSERT", "METADATA$ISUPDATE": "false", "n": 1}],
            {},
            "sequence",
            "orders noth",
        ),
        ([{"op": "c", "source": {}, "after": {"id": 1}}], {}, "database", "which database"),
        (
            [{"a_id": 1, "b_id": 2, "at": "2026-01-01T00:00:00Z"}],
            {"kind": "plain"},
            "keys",
            "clearly the key",
        ),
        ([{"id": 1, "n": 1}], {"kind": "plain"}, "sequence", "which column orders"),
        (
            [{"id": 1, "op": "insert", "at": "2026-01-01T00:00:00Z"}],
            {"kind": "plain"},
            "deletes",
            "which value of op means a delete",
        ),
    ],
)
def test_what_is_not_clear_is_refused_by_name(tmp_path, rows, options, option, words):
    with pytest.raises(UnclearError, match=words) as refused:
        plan_of(sample_of(tmp_path, *rows), **options)
    assert refused.value.option == option and f"--{option}" in str(refused.value)


def test_one_of_several_tables_is_chosen(tmp_path):
    def event(table, row):
        return {"database": "shop", "table": table, "type": "insert", "data": row}

    sample = sample_of(tmp_path, event("orders", {"id": 1}), event("items", {"item_id": 2, "name": "x"}))
    with pytest.raises(UnclearError, match="2 tables.*shop.items, shop.orders"):
        plan_of(sample)
    plan = plan_of(sample, table="items")
    assert (plan.table, plan.source_table, plan.keys) == ("items", "shop.items", ("item_id",))
    assert plan.source is not None and plan.source.table == "shop.items"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no record in it"),
        ('[\n  {"id": 1}\n]\n', "rows.json:1: a record that goes over several lines"),
    ],
)
def test_a_sample_that_cannot_be_read_is_refused(tmp_path, text, words):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_sample(tmp_path)


def test_csv_without_a_header_is_refused(tmp_path):
    (tmp_path / "LOAD1.csv").write_text("I,1,Oslo\n")
    with pytest.raises(UsageError, match="names no columns.*AddColumnName"):
        read_sample(tmp_path)


def test_a_kind_has_to_fit_the_sample(tmp_path):
    samples.wal2json(tmp_path)
    with pytest.raises(UsageError, match="no SQL Server CDC; it looks like wal2json, format 2"):
        plan_of(read_sample(tmp_path), kind="sqlserver")


def test_types_are_those_that_all_values_fit():
    assert suggest_type(["1", "20"], is_text=True) == "bigint"
    assert suggest_type(["1", "007"], is_text=True) == "string"
    assert suggest_type(["1", "2.50"], is_text=True) == "decimal(18,2)"
    assert suggest_type(["1", "2"]) == "string"
    assert suggest_type([1, 2.5]) == "double" and suggest_type([True, False]) == "boolean"
    assert suggest_type(["2026-01-01T00:00:00"], needs_zone=True) == "string"
    assert suggest_type([{"$numberLong": "1"}]) == "bigint" and suggest_type([{"a": 1}]) == "string"
    assert postgres_type("numeric(12,2)") == "decimal(12,2)"
    assert postgres_type("character varying(9)") == "string"
    assert connect_type({"type": "int64", "name": "io.debezium.time.MicroTimestamp"}) == "timestamp_ntz"
    assert parse_columns("id bigint, price decimal(10,2)") == {"id": "bigint", "price": "decimal(10,2)"}


def test_a_file_that_is_there_stays(init, tmp_path):
    project = tmp_path / "shop"
    project.mkdir()
    (project / "README.md").write_text("mine")
    samples.wal2json(tmp_path / "sample")
    done = init(project, "--sample", tmp_path / "sample")
    assert done.exit_code == 2 and "shop/README.md is there; name another folder" in done.output
    assert [path.name for path in project.iterdir()] == ["README.md"]
    assert init(project, "--sample", tmp_path / "sample", "--force").exit_code == 0
    assert (project / "README.md").read_text() != "mine"


def test_declared_columns_need_no_sample(init, tmp_path):
    words = ("--kind", "debezium", "--database", "mysql", "--table", "orders")
    done = init(tmp_path / "shop", *words, "--columns", "id bigint, made date", "--encoding", "made=Date")
    assert done.exit_code == 0, done.output
    facts = (tmp_path / "shop/sources/orders.py").read_text()
    assert "debezium.MYSQL" in facts and '"made": "Date"' in facts
    assert (tmp_path / "shop/.cdc/Volumes/main/default/raw_data/orders").is_dir()


def test_a_folder_that_names_no_bundle_is_refused(init, tmp_path):
    done = init(tmp_path / "7 days", "--kind", "debezium")
    assert done.exit_code == 2 and "names no bundle" in done.output


def test_a_terminal_is_asked(init, monkeypatch, tmp_path):
    monkeypatch.setattr("cdc_local.cli.init._has_terminal", lambda: True)
    samples.write_lines(
        tmp_path / "rows.json", [{"a_id": 1, "b_id": 2, "n": 3, "at": "2026-01-01T00:00:00Z"}]
    )
    answers = iter(["plain", "a_id,b_id"])
    monkeypatch.setattr("typer.prompt", lambda text: next(answers))
    monkeypatch.setattr("typer.confirm", lambda text, default: True)
    done = init(tmp_path / "shop", "--sample", tmp_path / "rows.json")
    assert done.exit_code == 0 and "1  plain" in done.output, done.output
    assert '"keys": ["a_id", "b_id"]' in (tmp_path / "shop/sources/rows.py").read_text()


def test_the_wheel_is_the_one_that_is_deployed(init, tmp_path):
    samples.wal2json(tmp_path / "sample")
    init(tmp_path / "shop", "--sample", tmp_path / "sample")
    [wheel] = (tmp_path / "shop/wheels").iterdir()
    assert f"default: {wheel.name}\n" in (tmp_path / "shop/databricks.yml").read_text()
    shown = json.dumps((tmp_path / "shop/README.md").read_text())
    assert "wheels/" in shown
