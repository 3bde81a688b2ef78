"Conditions, loops and jobs that run jobs, as the SDK asks for them and Databricks shows them"

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound, OperationFailed
from databricks.sdk.service import jobs, sql
from served_workspace import SOON, TOKEN, USER, client

from cdc_local.errors import PipelineError
from cdc_local.jobs.scheduler import run_job
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.server import serve_workspace


@pytest.fixture
def told():
    "What each attempt was given: its key, and its notebook's parameters"
    return []


@pytest.fixture
def w(storage, told):
    "A workspace whose notebooks note what they were given; `bad` fails, `look` sets task values"

    def do_task(attempt, job, environments, on_line):
        notebook = attempt.task["notebook_task"]
        told.append((attempt.key, notebook.get("base_parameters") or {}))
        on_line(f"{attempt.key} prints")
        if "bad" in (notebook.get("base_parameters") or {}).values():
            raise PipelineError("ValueError: bad input")
        if attempt.key == "look":
            job.values.add("look", "rows", 3)
            job.values.add("look", "files", [{"name": "a"}, {"name": "b"}])
        return f"{attempt.key} returns"

    execution = Execution(run_job, do_task, lambda *given: None)
    with serve_workspace(storage, USER, lambda: (TOKEN, "…"), 0, execution) as running:
        yield client(running)


def notebook(key, *depends_on, parameters=None, **more):
    return jobs.Task(
        task_key=key,
        notebook_task=jobs.NotebookTask("/x", base_parameters=parameters),
        depends_on=[jobs.TaskDependency(*dependency.split("=")) for dependency in depends_on],
        **more,
    )


def condition(key, left, op, right, *depends_on):
    return jobs.Task(
        task_key=key,
        condition_task=jobs.ConditionTask(jobs.ConditionTaskOp(op), left, right),
        depends_on=[jobs.TaskDependency(dependency) for dependency in depends_on],
    )


def loop(key, inputs, nested, *depends_on, concurrency=1):
    return jobs.Task(
        task_key=key,
        for_each_task=jobs.ForEachTask(inputs, nested, concurrency),
        depends_on=[jobs.TaskDependency(dependency) for dependency in depends_on],
    )


def run(w, *tasks, **more):
    job = w.jobs.create(name="daily", tasks=list(tasks), **more)
    return w.jobs.run_now(job.job_id).result(timeout=2 * SOON)


def results(tasks):
    return {task.task_key: task.state.result_state.value for task in tasks}


def test_a_condition_shows_its_outcome_and_decides(w, told):
    done = run(
        w,
        notebook("look"),
        condition("any", "{{tasks.look.values.rows}}", "GREATER_THAN", "2", "look"),
        notebook("yes", "any=true", parameters={"n": "{{tasks.look.values.rows}}"}),
        notebook("no", "any=false"),
    )
    assert results(done.tasks) == {"look": "SUCCESS", "any": "SUCCESS", "yes": "SUCCESS", "no": "EXCLUDED"}
    shown = {task.task_key: task for task in done.tasks}
    assert shown["any"].condition_task == jobs.RunConditionTask(
        jobs.ConditionTaskOp.GREATER_THAN, "{{tasks.look.values.rows}}", "2", "true"
    )
    assert shown["yes"].notebook_task.base_parameters == {"n": "{{tasks.look.values.rows}}"}
    assert shown["yes"].resolved_values.notebook_task.base_parameters == {"n": "3"}
    assert shown["yes"].depends_on == [jobs.TaskDependency("any", "true")]
    assert told == [("look", {}), ("yes", {"n": "3"})]
    assert done.state.result_state.value == "SUCCESS"


def test_a_loop_shows_its_iterations(w, told):
    nested = notebook("one", parameters={"file": "{{input.name}}", "of": "{{task.name}}"})
    done = run(w, notebook("look"), loop("each", "{{tasks.look.values.files}}", nested, "look"))
    each = done.tasks[1]
    assert each.for_each_task.inputs == "{{tasks.look.values.files}}"
    assert each.for_each_task.stats.task_run_stats == jobs.ForEachTaskTaskRunStats(0, 2, 0, 2, 2, 2)
    shown = w.jobs.get_run(each.run_id)
    assert [
        (iteration.task_key, iteration.resolved_values.notebook_task.base_parameters["file"])
        for iteration in shown.iterations
    ] == [("one", "a"), ("one", "b")]
    numbers = [iteration.run_id for iteration in shown.iterations]
    assert w.jobs.get_run_output(numbers[1]).notebook_output.result == "each[1] returns"
    assert w.jobs.get_run(numbers[0]).state.result_state.value == "SUCCESS"
    assert told[1:] == [("each[0]", {"file": "a", "of": "one"}), ("each[1]", {"file": "b", "of": "one"})]


def test_a_loop_whose_iteration_fails_says_why(w):
    nested = notebook("one", parameters={"kind": "{{input}}"})
    job = w.jobs.create(name="daily", tasks=[loop("each", '["good", "bad"]', nested)])
    started = w.jobs.run_now(job.job_id)
    with pytest.raises(OperationFailed, match=r"1 of 2 iterations failed; each\[1\]: ValueError: bad input"):
        started.result(timeout=SOON)
    each = w.jobs.get_run(started.run_id).tasks[0]
    stats = each.for_each_task.stats
    assert (stats.task_run_stats.succeeded_iterations, stats.task_run_stats.failed_iterations) == (1, 1)
    assert [(reason.error_message, reason.count) for reason in stats.error_message_stats] == [
        ("ValueError: bad input", 1)
    ]
    failed = w.jobs.get_run(each.run_id).iterations[1]
    output = w.jobs.get_run_output(failed.run_id)
    assert (output.error, output.error_trace) == ("ValueError: bad input", "each[1] prints")


def test_a_job_runs_another(w, told):
    parameters = [jobs.JobParameterDefinition("day", "1"), jobs.JobParameterDefinition("n", "0")]
    other = w.jobs.create(
        name="other",
        parameters=parameters,
        tasks=[notebook("show", parameters={"why": "{{job.trigger.type}}"})],
    ).job_id
    calls = jobs.Task(
        task_key="call", run_job_task=jobs.RunJobTask(other, job_parameters={"n": "{{job.parameters.rows}}"})
    )
    given = [jobs.JobParameterDefinition("rows", "7"), jobs.JobParameterDefinition("day", "2")]
    done = run(w, calls, parameters=given)
    assert told == [("show", {"why": "run_job_task", "day": "2", "n": "7"})]
    other_run = w.jobs.get_run(w.jobs.get_run_output(done.tasks[0].run_id).run_job_output.run_id)
    assert (other_run.job_id, other_run.trigger.value) == (other, "RUN_JOB_TASK")
    assert other_run.trigger_info.run_id == done.tasks[0].run_id


def test_a_job_that_runs_a_job_that_fails_has_failed(w):
    other = w.jobs.create(name="other", tasks=[notebook("show", parameters={"kind": "bad"})]).job_id
    with pytest.raises(OperationFailed, match=r"is FAILED: Task show failed with message: ValueError"):
        run(w, jobs.Task(task_key="call", run_job_task=jobs.RunJobTask(other)))


def test_jobs_that_run_each_other_come_to_an_end(w):
    job = w.jobs.create(name="round", max_concurrent_runs=9, tasks=[notebook("show")]).job_id
    again = jobs.Task(task_key="again", run_job_task=jobs.RunJobTask(job))
    w.jobs.reset(job, jobs.JobSettings(name="round", max_concurrent_runs=9, tasks=[again]))
    with pytest.raises(OperationFailed, match="3 jobs run each other already"):
        w.jobs.run_now(job).result(timeout=SOON)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (notebook("a", parameters={"of": "{{job.naem}}"}), r"\{\{job.naem\}\} is no dynamic value reference"),
        (notebook("a", parameters={"of": "{{input}}"}), "stands outside the task of a for_each_task"),
        (loop("a", "[1]", loop("b", "[1]", notebook("c"))), "b is a for_each_task itself"),
        (notebook("a", parameters={"of": "{{tasks.b.run_id}}"}), "the job has no task 'b'"),
    ],
)
def test_what_no_run_could_do_is_refused_when_it_is_created(w, task, message):
    with pytest.raises(InvalidParameterValue, match=message):
        w.jobs.create(name="daily", tasks=[task])
    assert not list(w.jobs.list())


def test_a_reference_in_a_parameter_of_the_run_is_filled_in_or_refused(w):
    job = w.jobs.create(name="daily", tasks=[notebook("look")]).job_id
    with pytest.raises(InvalidParameterValue, match="the job begins before any task"):
        w.jobs.run_now(job, job_parameters={"day": "{{task.name}}"})
    done = w.jobs.run_now(job, job_parameters={"of": "{{job.name}}"}).result(timeout=SOON)
    assert [(given.name, given.value) for given in done.job_parameters] == [("of", "daily")]


def test_a_saved_query_is_run_by_a_task(storage, monkeypatch):
    monkeypatch.setenv("CDC_ENGINE", "sail")  # of the process that runs it
    with serve_workspace(storage, USER, lambda: (TOKEN, "…"), 0) as running:
        w = client(running)
        query = sql.CreateQueryRequestQuery(
            display_name="days", query_text="SELECT :n + 1 AS n", schema="shop"
        )
        saved = w.queries.create(query=query)
        assert (w.queries.get(saved.id).schema, [each.id for each in w.queries.list()]) == (
            "shop",
            [saved.id],
        )
        changed = sql.UpdateQueryRequestQuery(query_text="SELECT int(:n) + 1 AS n", display_name="ignored")
        updated = w.queries.update(saved.id, "query_text", query=changed)
        assert (updated.display_name, updated.query_text) == ("days", "SELECT int(:n) + 1 AS n")
        ask = jobs.Task(
            task_key="ask",
            sql_task=jobs.SqlTask(
                "w", query=jobs.SqlTaskQuery(saved.id), parameters={"n": "{{job.parameters.n}}"}
            ),
        )
        done = run(
            w,
            ask,
            condition("two", "{{tasks.ask.output.first_row.n}}", "EQUAL_TO", "3", "ask"),
            parameters=[jobs.JobParameterDefinition("n", "2")],
        )
        assert done.tasks[1].condition_task.outcome == "true"
        assert (
            done.tasks[1].resolved_values is None or done.tasks[1].resolved_values.condition_task.left == "3"
        )
        assert w.jobs.get_run_output(done.tasks[0].run_id).sql_output.query_output.warehouse_id == "w"
        w.queries.delete(saved.id)
        with pytest.raises(NotFound, match="does not exist"):
            w.queries.get(saved.id)
