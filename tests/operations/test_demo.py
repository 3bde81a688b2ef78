"The demo is the bundle's job; what came out is shown only where all went well."

from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.bundles.run import JobRun
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations import demo
from cdc_local.operations.demo import (
    BUNDLE,
    choose_key,
    find_project,
    growth_table,
    next_steps,
    print_results,
    read_busiest,
    read_versions,
    run_demo,
)
from cdc_local.reports.tables import make_console
from cdc_local.storage import TableName
from cdc_utils.results import ExpectationCount, FlowResult, TaskRun, UpdateResult

HISTORY = TableName("main", "default", "customers_history")
GOLD = TableName("main", "default", "customers_history_agg")


@pytest.mark.parametrize(
    "before, state", [({}, "COMPLETED"), ({"a table": 3}, "COMPLETED"), ({}, "FAILED"), ({}, "CANCELED")]
)
def test_the_job_then_what_came_out(tmp_path, monkeypatch, before, state):
    loaded, requests, shown, stop = [], [], [], object()
    bundle = SimpleNamespace(resources=lambda kind: {"dlt_wheel_job": {"tasks": [{}, {}, {}]}})
    result = UpdateResult("u1", state, (FlowResult("customers", "c.s.customers", state, 7),))

    def load(*given):
        loaded.append(given)
        return bundle

    def run(request, stopping):
        assert stopping is stop
        requests.append(request)
        tasks = (
            TaskRun(
                "run_dlt_pipeline",
                "TERMINATED",
                "SUCCESS" if state == "COMPLETED" else state,
                1,
                1.0,
                2.0,
                "" if state == "COMPLETED" else "no column idd",
            ),
        )
        for task in tasks:
            request.on_change(task)
        return JobRun("dlt_wheel_job", tasks[0].result, tasks, {"run_dlt_pipeline": result}, 1.0)

    monkeypatch.setattr(demo, "find_project", lambda start: tmp_path / "clone")
    monkeypatch.setattr(demo, "count_rows_of_tables", lambda storage: before)
    monkeypatch.setattr(demo, "load_bundle", load)
    monkeypatch.setattr(demo, "run_bundle_job", run)
    monkeypatch.setattr(demo, "print_results", lambda *given: shown.append(given[1:5]))
    file = StringIO()

    def shows():
        return run_demo(tmp_path, tmp_path / "storage", 7, 3, "c", "s", make_console(file), stop)

    if state == "FAILED":
        with pytest.raises(PipelineError, match="no column idd"):
            shows()
        assert shown == [] and "What came out" not in file.getvalue()
        assert "FAILED" in file.getvalue(), "the tasks are told"
    elif state == "CANCELED":
        with pytest.raises(KeyboardInterrupt):
            shows()
        assert shown == [] and "What came out" not in file.getvalue()
    else:
        assert shows() is result and shown == [(before, result, "c", "s")]
        told = " ".join(file.getvalue().split())
        assert "7 changes, from feed to gold" in told
        assert ("one more day" in told, "the next day: only its changes are processed" in told) == (
            bool(before),
            not before,
        )
    assert loaded == [
        (tmp_path / "clone/bundles/app", "dev", {"default_catalog": "c", "default_schema": "s"})
    ]
    assert (requests[0].key, requests[0].parameters, requests[0].storage.root) == (
        "dlt_wheel_job",
        {"mock": "true", "rows": "7", "seed": "3"},
        tmp_path / "storage",
    )


@pytest.fixture
def history(storage):
    "Customers with few and with many versions, deleted ones and others."
    versions = [
        ("a", "Oslo", 1, 2),
        ("a", "Rome", 2, None),
        ("b", "Bern", 4, 9),
        ("b", "Wien", 1, 2),
        ("b", "Lyon", 2, 4),
        ("c", "Graz", 1, 3),
        *[("d", f"city {number}", number, number + 1) for number in range(9)],
        *[("aa", f"city {number}", number, number + 1 if number < 3 else None) for number in range(4)],
    ]
    columns = ("id", "city", "__START_AT", "__END_AT")
    rows = pa.table(dict(zip(columns, map(list, zip(*versions, strict=True)), strict=True)))
    write_deltalake(str(storage.table_path(HISTORY)), rows)
    gold = pa.table({"id": ["a", "b", "d"], "version_count": [2, 3, 9], "city_count": [2, 3, 1]})
    write_deltalake(str(storage.table_path(GOLD)), gold)
    return storage


def printed(*things):
    file = StringIO()
    make_console(file).print(*things)
    return file.getvalue()


def test_the_clone_is_found_from_a_folder_in_it(tmp_path):
    with pytest.raises(UsageError, match="no pipeline to show in .*git clone the project"):
        find_project(tmp_path)
    for folder in (tmp_path / "transformations" / "deep", tmp_path / BUNDLE):
        folder.mkdir(parents=True)
    (tmp_path / BUNDLE / "databricks.yml").write_text("")
    assert find_project(tmp_path / "transformations" / "deep") == tmp_path


def test_rows_written_stand_beside_the_rows_of_a_table():
    customers, bronze = (
        TableName("main", "default", table) for table in ("customers", "customers_cdc_bronze")
    )
    flows = (
        FlowResult("customers", str(customers), "COMPLETED", None, 900, 50),
        FlowResult("customers_cdc_bronze", "customers_cdc_bronze", "COMPLETED", 1000, 990, 10),
    )
    before, after = {customers: 4_000, bronze: 20_000}, {customers: 4_300, bronze: 21_000}
    text = printed(growth_table(before, after, UpdateResult("u1", "COMPLETED", flows)))
    assert [line.split() for line in text.splitlines() if line.startswith("customers")] == [
        ["customers", "4,000", "950", "4,300"],
        ["customers_cdc_bronze", "20,000", "1,000", "21,000"],
    ]


def test_the_customer_shown_has_several_versions_and_is_gone_at_the_end(history):
    assert choose_key(history, HISTORY) == "b"  # d has nine versions, aa is still there
    rows = read_versions(history, HISTORY, "b")
    assert rows.columns == ("city", "__START_AT", "__END_AT")
    assert rows.values == [("Wien", 1, 2), ("Lyon", 2, 4), ("Bern", 4, 9)]


def test_the_busiest_customers_come_first(history):
    assert read_busiest(history, GOLD, 2).values == [("d", 9, 1), ("b", 3, 3)]


def test_the_results_are_tables_expectations_one_customer_and_the_busiest(history):
    count = ExpectationCount("main.default.customers_cdc_clean", "valid_id", 980, 20)
    flow = FlowResult("customers", "main.default.customers", "COMPLETED", expectations=(count,))
    file = StringIO()
    result = UpdateResult("u1", "COMPLETED", (flow,))
    print_results(history, {}, result, "main", "default", make_console(file))
    for expected in ("customers_history of b", "valid_id", "the busiest customers", "Wien"):
        assert expected in file.getvalue()


def test_the_next_steps_name_the_storage_where_it_is_not_the_default():
    assert next_steps(Path(".cdc"), True)[-1] == (
        "cdc demo",
        "the next day: only its changes are processed",
    )
    assert next_steps(Path("other"), False)[3][0] == "cdc show --storage other"
