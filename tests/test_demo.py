"The demo passes its options to the notebooks and the pipeline, and shows what came out only where all went well."
import sys
import types
from io import StringIO
from types import SimpleNamespace

import pytest

from cdc_utils.local import demo
from cdc_utils.local.report import make_console


@pytest.mark.parametrize("before, state", [({}, "COMPLETED"), ({"a table": 3}, "COMPLETED"), ({}, "FAILED")])
def test_steps_then_the_pipeline_then_what_came_out(tmp_path, monkeypatch, before, state):
    steps, requests, shown = [], [], []
    module = types.ModuleType("cdc_utils.local.update")
    module.UpdateRequest = lambda **options: SimpleNamespace(**options)
    def update(request, progress):
        requests.append(vars(request))
        return SimpleNamespace(state=state, flows=())
    module.run_update = update
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(demo, "find_project", lambda start: tmp_path / "clone")
    monkeypatch.setattr(demo, "row_counts", lambda storage: before)
    monkeypatch.setattr(demo, "run_step", lambda project, step, storage, parameters, console: steps.append((step, parameters)))
    monkeypatch.setattr(demo, "print_results", lambda *given: shown.append(given[1:5]))
    file = StringIO()
    result = demo.run_demo(tmp_path, tmp_path / "storage", 7, 3, "c", "s", make_console(file))
    parameters = {"catalog": "c", "schema": "s", "mock": "true", "rows": 7, "seed": 3}
    assert steps == [("data_creation", parameters), ("exploration", parameters)]
    assert requests == [{"sources": (str(tmp_path / "clone/transformations"),), "storage": (tmp_path / "storage").resolve(), "catalog": "c", "schema": "s",
        "configuration": {"cdc.catalog": "c", "cdc.schema": "s"}, "root_path": tmp_path / "clone"}]
    told = " ".join(file.getvalue().split())
    if state == "FAILED": assert shown == [] and "What came out" not in told
    else:
        assert shown == [(before, result, "c", "s")] and "7 changes, from feed to gold" in told
        assert ("one more day" in told, "the next day: only its changes are processed" in told) == (bool(before), not before)
