"Jobs of a bundle with conditions, loops, task values, and tasks that run other jobs."

import pytest

from cdc_local.bundles.bundle import load_bundle
from cdc_local.bundles.check import bundle_problems
from cdc_local.bundles.run import RunRequest, run_bundle_job
from cdc_local.errors import UsageError
from cdc_local.storage import Storage

JOBS = """bundle: {name: shop}
targets: {dev: {mode: development}}
resources:
  jobs:
    daily:
      name: daily
      parameters: [{name: regions, default: '["eu", "us"]'}, {name: day, default: '{{job.name}} day'}]
      tasks:
        - task_key: any
          condition_task: {op: NOT_EQUAL, left: '{{job.parameters.regions}}', right: '[]'}
        - task_key: each
          depends_on: [{task_key: any, outcome: 'true'}]
          for_each_task:
            inputs: '{{job.parameters.regions}}'
            concurrency: 2
            task:
              task_key: one
              spark_python_task: {python_file: say.py, parameters: ['{{input}}', '{{task.name}}']}
        - task_key: none
          depends_on: [{task_key: any, outcome: 'false'}]
          spark_python_task: {python_file: say.py}
        - task_key: tell
          depends_on: [{task_key: each}]
          run_job_task: {job_id: '${resources.jobs.report.id}', job_parameters: {n: '{{tasks.each.run_id}}'}}
    report:
      name: report
      parameters: [{name: n, default: '0'}, {name: day, default: ''}]
      tasks:
        - task_key: show
          spark_python_task:
            python_file: say.py
            parameters: ['{{job.parameters.day}}', '{{job.trigger.type}}']
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "databricks.yml").write_text(JOBS)
    (tmp_path / "say.py").write_text("import sys; print(*sys.argv[1:], sep=', ')")
    return tmp_path


def run(shop, **given):
    bundle = load_bundle(shop, environ={})
    changes = []
    request = RunRequest(
        bundle, "daily", Storage(shop / "cdc").create(), given, on_change=lambda run: changes.append(run)
    )
    done = run_bundle_job(request)
    return done, {run.task_key: run for run in changes}


def test_a_job_branches_loops_and_runs_another(shop):
    assert bundle_problems(shop, environ={}) == []
    done, noted = run(shop)
    assert {run.task_key: run.result for run in done.tasks} == {
        "any": "SUCCESS",
        "each": "SUCCESS",
        "none": "EXCLUDED",
        "tell": "SUCCESS",
    }
    assert [noted[key].output for key in ("each[0]", "each[1]", "tell/show", "tell")] == [
        "eu, one",
        "us, one",
        "daily day, run_job_task",
        "job report is SUCCESS",
    ]
    assert done.result == "SUCCESS"


def test_the_other_branch_runs_where_there_is_nothing(shop):
    done, _ = run(shop, regions="[]")
    assert {run.task_key: run.result for run in done.tasks} == {
        "any": "SUCCESS",
        "each": "EXCLUDED",
        "none": "SUCCESS",
        "tell": "EXCLUDED",
    }


def test_a_job_fails_with_the_one_that_it_runs(shop):
    (shop / "say.py").write_text("import sys; sys.exit('error: no ' + sys.argv[1])")
    databricks = (
        (shop / "databricks.yml")
        .read_text()
        .replace('regions, default: \'["eu", "us"]\'', "regions, default: x")
    )
    (shop / "databricks.yml").write_text(databricks.replace("depends_on: [{task_key: each}]\n", "\n"))
    with pytest.raises(UsageError, match="it does not depend on each"):
        run(shop)
    (shop / "databricks.yml").write_text(
        databricks.replace("'{{tasks.each.run_id}}'", "'1'").replace(
            "[{task_key: each}]", "[{task_key: any}]"
        )
    )
    done, noted = run(shop)
    assert noted["tell"].message == "job report is FAILED: show: no daily day"
    assert "inputs is 'x', which is no list" in noted["each"].message
    assert done.result == "FAILED"


def test_task_values_pass_from_a_notebook_to_a_condition(shop):
    (shop / "look.py").write_text(
        "# Databricks notebook source\n"
        "found = dbutils.jobs.taskValues.get('first', 'rows', default=0) + 1\n"
        "dbutils.jobs.taskValues.set(key='rows', value=found)\n"
        "print(found)"
    )
    (shop / "databricks.yml").write_text("""bundle: {name: shop}
resources:
  jobs:
    daily:
      name: daily
      tasks:
        - {task_key: first, notebook_task: {notebook_path: look}}
        - {task_key: second, depends_on: [{task_key: first}], notebook_task: {notebook_path: look}}
        - task_key: more
          depends_on: [{task_key: second}]
          condition_task:
            {op: GREATER_THAN, left: '{{tasks.second.values.rows}}', right: '{{tasks.first.values.rows}}'}
""")
    done, _ = run(shop)
    assert [run.output for run in done.tasks] == ["1", "2", "true"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("{{job.name}} day", "{{job.naem}} day", 7, "parameter day: {{job.naem}} is no dynamic value"),
        ("NOT_EQUAL", "UNLIKE", 10, "'UNLIKE' is none of EQUAL_TO"),
        ("outcome: 'true'", "outcome: 'yes'", 12, "a condition has the outcomes 'true' and 'false'"),
        ("'{{input}}'", "'{{inputs.a}}'", 18, "task each: {{inputs.a}} is no dynamic value reference"),
        ("{{tasks.each.run_id}}", "{{tasks.each.values}}", 24, "task tell: {{tasks.each.values}} is no"),
        ("{{tasks.each.run_id}}", "{{tasks.none.run_id}}", 24, "it does not depend on none"),
        ("'{{job.trigger.type}}'", "'{{input}}'", 32, "task show: {{input}} stands outside the task of a"),
    ],
)
def test_what_is_wrong_is_found_at_its_line(shop, old, new, line, message):
    assert old in JOBS
    (shop / "databricks.yml").write_text(JOBS.replace(old, new))
    problems = [problem for problem in bundle_problems(shop, environ={}) if message in problem.message]
    assert [problem.location.rpartition(":")[2] for problem in problems] == [str(line)]


def test_jobs_that_run_each_other_are_found(shop):
    again = (
        "        - {task_key: back, depends_on: [{task_key: show}],"
        " run_job_task: {job_id: '${resources.jobs.daily.id}'}}\n"
    )
    (shop / "databricks.yml").write_text(JOBS + again)
    (problem,) = bundle_problems(shop, environ={})
    assert "jobs run each other: " in problem.message
    with pytest.raises(UsageError, match="jobs run each other: daily -> report -> daily"):
        run(shop)
