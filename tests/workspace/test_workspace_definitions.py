"Pipelines and jobs as they are defined: what is stored, and what is refused"

import pytest

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.job_definitions import create_job, delete_job, reset_job, update_job
from cdc_local.workspace.pipeline_definitions import delete_pipeline, store_pipeline
from cdc_local.workspace.state import State

LOOK = {
    "task_key": "look",
    "notebook_task": {"notebook_path": "/Users/ann/look"},
    "environment_key": "default",
}
LOAD = {"task_key": "load", "depends_on": [{"task_key": "look"}], "pipeline_task": {"pipeline_id": "1"}}
DAILY = {"name": "daily", "tasks": [LOOK, LOAD], "environments": [{"environment_key": "default"}]}


def test_an_edited_pipeline_keeps_its_id(storage, state):
    made = store_pipeline(
        state,
        {
            "name": "etl",
            "catalog": "main",
            "schema": "sales",
            "serverless": True,
            "allow_duplicate_names": False,
        },
    )
    edited = store_pipeline(state, {"name": "etl", "catalog": "main", "schema": "shop"}, made["pipeline_id"])
    assert edited["pipeline_id"] == made["pipeline_id"]
    assert edited["spec"] == {
        "name": "etl",
        "catalog": "main",
        "schema": "shop",
        "id": made["pipeline_id"],
    }
    assert len(state.all("pipelines")) == 1
    delete_pipeline(state, made["pipeline_id"])
    assert State(storage, "ann").all("pipelines") == []


@pytest.mark.parametrize(
    "settings, pipeline_id, message",
    [
        ({"name": "etl"}, None, "The pipeline name 'etl' is already used"),
        ({"name": "x"}, "none", r"The specified pipeline none was not found\."),
        ({}, None, "a pipeline needs a name, not None"),
    ],
)
def test_a_pipeline_that_cannot_be_stored_is_refused(state, settings, pipeline_id, message):
    store_pipeline(state, {"name": "etl"})
    with pytest.raises(CallError, match=message):
        store_pipeline(state, settings, pipeline_id)


def test_two_pipelines_of_one_name_are_made_where_that_is_allowed(state):
    for _ in range(2):
        store_pipeline(state, {"name": "etl", "allow_duplicate_names": True})
    assert len(state.all("pipelines")) == 2


def test_a_reset_keeps_who_the_job_runs_as(state):
    job = create_job(state, DAILY | {"run_as": {"user_name": "ann"}})
    assert reset_job(state, job["job_id"], DAILY)["settings"]["run_as"] == {"user_name": "ann"}


def test_an_update_adds_tasks_and_takes_settings_away(storage, state):
    job = create_job(state, DAILY | {"run_as": {"user_name": "ann"}})
    more = {"task_key": "more", "depends_on": [{"task_key": "load"}]}
    update_job(state, job["job_id"], {"max_concurrent_runs": 2, "tasks": [more]}, removed=["run_as"])
    stored = State(storage, "ann").find("jobs", job["job_id"])["settings"]
    assert (stored["max_concurrent_runs"], "run_as" in stored) == (2, False)
    assert [task["task_key"] for task in stored["tasks"]] == ["look", "load", "more"]
    assert {task["run_if"] for task in stored["tasks"]} == {"ALL_SUCCESS"}


def test_an_update_replaces_the_task_of_the_same_key(state):
    job = create_job(state, DAILY)
    changed = LOAD | {"pipeline_task": {"pipeline_id": "2"}}
    tasks = update_job(state, job["job_id"], {"tasks": [changed]})["settings"]["tasks"]
    assert [task["task_key"] for task in tasks] == ["look", "load"]
    assert tasks[1]["pipeline_task"] == {"pipeline_id": "2"}


def on(*keys):
    return {"depends_on": [{"task_key": key} for key in keys]}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"tasks": [{"task_key": "a"} | on("b")]}, r"depends on \['b'\], which the job has not"),
        (
            {"tasks": [{"task_key": "a"} | on("b"), {"task_key": "b"} | on("a")]},
            r"\['a', 'b'\] wait for each other",
        ),
        ({"tasks": [7]}, "it must be a list of objects"),
        ({"tasks": [{"task_key": "a", "depends_on": "b"}]}, "it must be a list of objects"),
        ({"tasks": [{"notebook_task": {}}]}, "a task has no task_key"),
        ({"timeout_seconds": "10"}, "it must be a number"),
        ({"parameters": [{"name": "day", "default": 7}]}, "default of a parameter is 7; it must be a text"),
        ({"tasks": [{"task_key": "a"}] * 2}, "'a' is given twice"),
        ({"tasks": [LOOK]}, "names the environment 'default'"),
    ],
)
def test_a_job_that_cannot_run_is_refused(state, settings, message):
    with pytest.raises(CallError, match=message):
        create_job(state, settings)
    assert state.all("jobs") == []


def test_a_notebook_task_with_an_environment_is_refused_where_a_workspace_does_so(state):
    with pytest.raises(CallError, match="'look' is a notebook task, and environment_key is not supported"):
        create_job(state, DAILY, refuse_environments=True)


def test_a_job_is_deleted_once(state):
    job = create_job(state, DAILY)
    delete_job(state, job["job_id"])
    with pytest.raises(CallError, match="does not exist"):
        delete_job(state, job["job_id"])
