"The demo is the bundle's job, with its options as parameters and variables; what came out is shown only where all went well."

from io import StringIO
from types import SimpleNamespace

import pytest

from cdc_local.bundles.run import JobRun
from cdc_local.errors import PipelineError
from cdc_local.operations import demo
from cdc_local.operations.demo import run_demo
from cdc_local.reports.tables import make_console
from cdc_utils.results import FlowResult, TaskRun, UpdateResult


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
