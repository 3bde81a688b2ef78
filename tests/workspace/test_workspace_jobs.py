"Jobs and their runs, as the SDK asks for them"

import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound, OperationFailed
from databricks.sdk.service import jobs
from served_workspace import ODD, SOON, ask, client, daily, open_workspace

from cdc_local.jobs.attempts import Attempt
from cdc_local.jobs.pipeline_task import UpdateOptions
from cdc_local.workspace import execution as workspace_execution
from cdc_local.workspace.execution import local_execution
from cdc_local.workspace.paths import WorkspacePaths


def test_a_run_of_a_job(w, work, running):
    run = w.jobs.run_now(daily(w), job_parameters={"day": "friday"}).result(timeout=SOON)
    assert run.run_page_url.startswith(f"{running.host}/")
    assert (
        run.state.life_cycle_state.value,
        run.state.result_state.value,
        run.status.state.value,
        run.status.termination_details.code.value,
    ) == ("TERMINATED", "SUCCESS", "TERMINATED", "SUCCESS")
    assert [(task.task_key, task.state.result_state.value) for task in run.tasks] == [
        ("look", "SUCCESS"),
        ("load", "SUCCESS"),
    ]
    assert (
        w.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result
        == "{'of': 'friday', 'day': 'friday'}"
    )
    assert work.done == [
        ("look", {"default": {"environment_version": "4", "dependencies": ["/Volumes/main/shop/raw/x.whl"]}}),
        "etl",
    ]
    assert [each.run_id for each in w.jobs.list_runs(job_id=run.job_id, completed_only=True)] == [
        run.run_id
    ] and not list(w.jobs.list_runs(job_id=run.job_id, active_only=True))
    w.jobs.delete_run(run.run_id)
    with pytest.raises(NotFound):
        w.jobs.get_run(run.run_id)


def test_a_run_that_fails_says_why(w):
    script = jobs.Task(task_key="check", spark_python_task=jobs.SparkPythonTask("/Workspace/check.py"))
    started = w.jobs.run_now(
        w.jobs.create(
            name="checks",
            tasks=[
                script,
                jobs.Task(
                    task_key="after",
                    depends_on=[jobs.TaskDependency("check")],
                    notebook_task=jobs.NotebookTask("/x"),
                ),
            ],
        ).job_id
    )
    with pytest.raises(OperationFailed, match="Task check failed with message: Workload failed"):
        started.result(timeout=SOON)
    run = w.jobs.get_run(started.run_id)
    assert (
        run.state.life_cycle_state.value,
        run.state.result_state.value,
        run.status.termination_details.code.value,
    ) == ("INTERNAL_ERROR", "FAILED", "RUN_EXECUTION_ERROR")
    output = w.jobs.get_run_output(run.tasks[0].run_id)
    assert (output.error, output.error_trace) == ("ValueError: no rows", "Traceback (most recent call last):")


def test_a_canceled_run_takes_its_update_along(w, work):
    work.may_end.clear()
    job = daily(w)
    started = w.jobs.run_now(job)
    assert work.began.acquire(timeout=60)
    second = w.jobs.run_now(job)  # max_concurrent_runs is 1, and there is no queue
    assert w.jobs.get_run(second.run_id).state.life_cycle_state.value == "SKIPPED"
    assert w.jobs.cancel_run(started.run_id).result(timeout=SOON).state.result_state.value == "CANCELED"
    assert [
        each.state.value
        for each in w.pipelines.list_updates(next(iter(w.pipelines.list_pipelines())).pipeline_id).updates
    ] == ["CANCELED"]
    w.jobs.cancel_run(started.run_id)  # has ended: nothing happens


def test_jobs_are_changed_listed_and_deleted(w):
    job = daily(w)
    w.jobs.update(job, new_settings=jobs.JobSettings(max_concurrent_runs=3), fields_to_remove=["parameters"])
    got = w.jobs.get(job).settings
    assert (
        got.max_concurrent_runs,
        len(got.parameters or ()),
        len(got.tasks),
        got.tasks[0].run_if.value,
    ) == (3, 0, 2, "ALL_SUCCESS")
    w.jobs.reset(
        job,
        jobs.JobSettings(
            name="nightly", tasks=[jobs.Task(task_key="look", notebook_task=jobs.NotebookTask("/x"))]
        ),
    )
    assert [each.settings.name for each in w.jobs.list()] == ["nightly"] and not list(
        w.jobs.list(name="daily")
    )
    assert [task.task_key for each in w.jobs.list(expand_tasks=True) for task in each.settings.tasks] == [
        "look"
    ]
    with pytest.raises(InvalidParameterValue, match="depends on"):
        w.jobs.create(tasks=[jobs.Task(task_key="a", depends_on=[jobs.TaskDependency("b")])])
    with pytest.raises(InvalidParameterValue, match="no tasks"):
        w.jobs.run_now(w.jobs.create(name="empty").job_id)
    w.jobs.delete(job)
    for call in (w.jobs.get, w.jobs.delete, w.jobs.run_now):
        with pytest.raises(NotFound, match=f"Job {job} does not exist"):
            call(job)


def test_a_long_list_comes_in_pages(w):
    made = {w.jobs.create(name=f"job {number}").job_id for number in range(45)}
    listed = [each.job_id for each in w.jobs.list(limit=20)]
    assert set(listed) == made and listed == sorted(made, reverse=True)


def test_a_workspace_that_refuses_environments_of_notebook_tasks(storage, work):
    with open_workspace(storage, work, refuse_job_environments=True) as running:
        with pytest.raises(InvalidParameterValue, match="environment_key is not supported"):
            daily(client(running))
        assert not list(client(running).jobs.list())


def test_a_run_that_takes_too_long_is_stopped(w, work):
    work.may_end.clear()
    started = w.jobs.run_now(daily(w, timeout_seconds=1))
    assert started.result(timeout=SOON).state.result_state.value == "TIMEDOUT"


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_no_job_that_was_taken_is_a_fault_when_it_runs(running, w, odd, caplog):
    task = {"task_key": "look", "notebook_task": {"notebook_path": "/x"}}
    for more in (
        {"queue": odd},
        {"environments": [{"environment_key": odd}]},
        {"environments": odd},
        {"parameters": odd},
        {"parameters": [{"name": odd, "default": odd}]},
        {"tasks": [task | {"notebook_task": odd}]},
        {"tasks": [task | {"notebook_task": {"base_parameters": odd}}]},
        {"tasks": [task | {"depends_on": odd}]},
        {"timeout_seconds": odd},
        {"name": odd},
        {"tasks": [task | {"pipeline_task": {"pipeline_id": odd}}]},
    ):
        status, answer = ask(
            running, "POST", "/api/2.2/jobs/create", {"tasks": [task], "max_concurrent_runs": 2} | more
        )
        assert status in (200, 400), (more, answer)
        if status == 200:
            status, answer = ask(running, "POST", "/api/2.2/jobs/run-now", {"job_id": answer["job_id"]})
            assert status in (200, 400), (more, answer)
            if status == 200:
                running.workspace.work.wait("runs", answer["run_id"])
            assert (
                ask(running, "GET", "/api/2.2/jobs/runs/list?expand_tasks=true")[0]
                == ask(running, "GET", "/api/2.2/jobs/list")[0]
                == 200
            )
        assert "ended by a fault" not in caplog.text, (more, caplog.text)


def test_work_is_done_by_programs_of_this_machine(storage, monkeypatch):
    "What the local execution asks of the module that knows processes."
    monkeypatch.setattr(
        workspace_execution,
        "run_program",
        lambda program, stop, on_line, on_error_line, notes: (program, stop, on_line, on_error_line, notes),
    )
    monkeypatch.setattr(
        workspace_execution, "update_program", lambda pipeline, options, paths: (pipeline, options, paths)
    )
    monkeypatch.setattr(
        workspace_execution, "task_program", lambda plan: (plan.task, plan.wheels, plan.paths)
    )
    paths = WorkspacePaths(storage)
    execution = local_execution(paths)
    update = {
        "update_id": "u",
        "full_refresh": True,
        "refresh_selection": ["a"],
        "full_refresh_selection": ["b"],
        "validate_only": False,
    }
    assert execution.update("spec", update, "stop", "tell") == (
        ("spec", UpdateOptions("u", True, ("a",), ("b",)), paths),
        "stop",
        None,
        "tell",
        workspace_execution.program_notes(paths.storage),
    )
    task = {"task_key": "look", "environment_key": "default"}
    attempt = Attempt(task, "look", 1, "stop")
    assert execution.task(attempt, "job", {"default": {"dependencies": []}}, "tell") == (
        (task, [], paths),
        "stop",
        "tell",
        "tell",
        workspace_execution.program_notes(paths.storage),
    )
