"The same of tools whose rows Spark alone reads right: maps of values, and the quotes of CSV."

import pytest
import samples


@pytest.mark.parametrize("name", ["dms", "debezium", "wal2json"])
def test_a_project_of_a_tool_runs_at_once(init, written, spark, tmp_path, name):
    sample, project = tmp_path / "sample" / samples.TABLE, tmp_path / f"shop_{name}"
    getattr(samples, name)(sample)
    done = init(project, "--sample", sample, "--table", samples.TABLE, "--no-history")
    assert done.exit_code == 0, done.output
    rows = written.update(project)
    assert rows(samples.TABLE, "id", "status") == samples.LEFT
    assert rows("orders_quarantine", "problems") == []
    assert written.problems(project, environ={}) == []
    assert written.run_own_tests(project, tmp_path / "tests") == 3


def test_a_project_of_snapshots_runs_at_once(init, written, spark, tmp_path):
    sample, project = tmp_path / "sample" / samples.TABLE, tmp_path / "shop_snapshots"
    samples.snapshots(sample)
    done = init(project, "--sample", sample, "--table", samples.TABLE)
    assert done.exit_code == 0, done.output
    rows = written.update(project)
    assert rows(samples.TABLE, "id", "status") == samples.LEFT
    assert len(rows("orders_history", "id", "status")) == 3
    assert written.problems(project, environ={}) == []
    assert written.run_own_tests(project, tmp_path / "tests") >= 1
