"""What `cdc init` writes from a sample of a tool's feed runs, has the right rows, and passes its own tests.

Sail is not known to compute envelopes as Spark does; these samples it does."""

import pytest
import samples

pytestmark = pytest.mark.sail


@pytest.mark.parametrize(
    "name, options",
    [
        ("sqlserver", []),
        ("airbyte", ["--no-history"]),
        ("plain", ["--kind", "plain"]),
    ],
)
def test_a_project_runs_at_once(init, written, spark, tmp_path, name, options):
    sample, project = tmp_path / "sample" / samples.TABLE, tmp_path / f"shop_{name}"
    getattr(samples, name)(sample)
    done = init(project, "--sample", sample, "--table", samples.TABLE, *options)
    assert done.exit_code == 0, done.output
    rows = written.update(project)
    assert rows(samples.TABLE, "id", "status") == samples.LEFT
    assert rows("orders_quarantine", "id" if name == "plain" else "problems") == []
    if "--no-history" not in options:
        assert len(rows("orders_history", "id", "status")) == 3
    assert written.problems(project, environ={}) == []
    assert written.run_own_tests(project, tmp_path / "tests") >= 1
