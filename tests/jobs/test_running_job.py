"A run of a job: what its references stand for, and what its tasks leave for one another."

import json
from datetime import UTC, datetime

import pytest

from cdc_local.errors import UsageError
from cdc_local.jobs.running_job import JobFacts, RunningJob, fill_parameters, hand_down
from cdc_local.source.task_values import Jobs, TaskValues
from cdc_utils.results import TaskRun

FACTS = JobFacts(7, 8, "daily", datetime(2026, 1, 4, 9, 5, 7, 250_000, UTC), 6, "https://w", "run_job_task")

LOOK = {"task_key": "look", "notebook_task": {"notebook_path": "etl/look"}}


@pytest.fixture
def job(tmp_path):
    "A run in which `look` has failed in its second attempt"
    ids = iter(range(100, 200))
    job = RunningJob(FACTS, [LOOK], {"day": "2", "mode": "full"}, tmp_path, ids.__next__, {"look": 9})
    job.note(TaskRun("look", "TERMINATED", "FAILED", 2))
    return job


def fill(job, text, **more):
    task = {"task_key": "load", "spark_python_task": {"parameters": [text]}}
    return job.fill(task, "load", **more)["spark_python_task"]["parameters"][0]


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("job.id", "7"),
        ("job_id", "7"),
        ("job.run_id", "8"),
        ("parent_run_id", "8"),
        ("job.name", "daily"),
        ("job.repair_count", "0"),
        ("job.trigger.type", "run_job_task"),
        ("job.parameters.day", "2"),
        ("job.start_time.iso_date", "2026-01-04"),
        ("job.trigger.time.iso_date", "2026-01-04"),
        ("start_date", "2026-01-04"),
        ("job.start_time.iso_datetime", "2026-01-04T09:05:07.250Z"),
        ("job.start_time.iso_weekday", "7"),
        ("job.start_time.is_weekday", "false"),
        ("job.start_time.month", "1"),
        ("job.start_time.timestamp_ms", "1767517507250"),
        ("start_time", "1767517507250"),
        ("workspace.id", "6"),
        ("workspace.url", "https://w"),
        ("task.name", "load"),
        ("task_key", "load"),
        ("task.run_id", "100"),
        ("run_id", "100"),
        ("task.execution_count", "3"),
        ("task_retry_count", "2"),
        ("tasks.look.run_id", "9"),
        ("tasks.look.result_state", "failed"),
        ("tasks.look.error_code", "RunExecutionError"),
        ("tasks.look.execution_count", "2"),
        ("tasks.look.notebook_path", "etl/look"),
    ],
)
def test_each_reference_has_its_value(job, reference, value):
    assert fill(job, f"a {{{{{reference}}}}} b", attempt=3) == f"a {value} b"


@pytest.mark.parametrize(
    ("item", "texts"),
    [
        ("eu", {"{{input}}": "eu"}),
        (3, {"{{input}}": "3"}),
        ({"name": "a", "n": [1]}, {"{{input}}": '{"name": "a", "n": [1]}', "{{input.n}}": "[1]"}),
    ],
)
def test_an_iteration_has_its_input(job, item, texts):
    for text, value in texts.items():
        assert fill(job, text, item=item) == value
    with pytest.raises(UsageError, match="there is no 'city'; the input has"):
        fill(job, "{{input.city}}", item=item)


def test_task_values_are_texts_or_json(job):
    for key, value in {"day": "monday", "rows": 3, "new": True, "files": [{"a": "ü"}], "none": None}.items():
        job.values.add("look", key, value)
    names = ("day", "rows", "new", "files", "none")
    filled = [fill(job, f"{{{{tasks.look.values.{name}}}}}") for name in names]
    assert filled == ["monday", "3", "true", '[{"a": "\\u00fc"}]', "null"]


def test_rows_of_a_sql_task_are_values(job, tmp_path):
    path = job.rows_path("look")
    path.parent.mkdir()
    path.write_text(json.dumps([{"city": "Bonn", "n": 2}, {"city": "Köln", "n": 1}]))
    assert fill(job, "{{tasks.look.output.first_row.city}}") == "Bonn"
    assert json.loads(fill(job, "{{tasks.look.output.rows}}"))[1] == {"city": "Köln", "n": 1}
    with pytest.raises(UsageError, match="there is no 'town'; the row has city, n"):
        fill(job, "{{tasks.look.output.first_row.town}}")
    path.write_text("[]")
    with pytest.raises(UsageError, match="the query of task look has found no row"):
        fill(job, "{{tasks.look.output.first_row.city}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{tasks.look.values.x}}",
            r"\{\{tasks.look.values.x\}\}: there is no 'x'; task look has set nothing",
        ),
        ("{{tasks.look.output.rows}}", "task look has left no rows"),
        ("{{tasks.other.run_id}}", "the job has no task 'other'"),
        ("{{job.parameters.dya}}", "there is no 'dya'; the job has day, mode"),
        ("{{job.trigger.file_arrival.location}}", "a trigger or a backfill starts the run: none does here"),
        ("{{input}}", "stands outside the task of a for_each_task"),
    ],
)
def test_what_has_no_value_is_named(job, text, message):
    with pytest.raises(UsageError, match=message):
        fill(job, text)


def test_parameters_of_the_job_are_handed_down_and_win(job):
    own = {"day": "1", "of": "{{job.name}}"}
    notebook = job.fill({"task_key": "a", "notebook_task": {"base_parameters": own}}, "a")
    assert notebook["notebook_task"]["base_parameters"] == {"day": "2", "of": "daily", "mode": "full"}
    assert own["of"] == "{{job.name}}"
    wheel = {"task_key": "a", "python_wheel_task": {"named_parameters": {"n": "1"}}}
    assert job.fill(wheel, "a")["python_wheel_task"]["named_parameters"] == {
        "n": "1",
        "day": "2",
        "mode": "full",
    }
    wheel["python_wheel_task"] = {"parameters": ["n"]}
    assert job.fill(wheel, "a") == wheel
    assert hand_down(job, {"day": "1", "n": "3"}, ["day"]) == {"day": "2", "n": "3"}


def test_parameters_of_the_job_may_name_the_job():
    assert fill_parameters(FACTS, {"of": "{{job.name}} {{odd}}"}) == {"of": "daily {{odd}}"}
    with pytest.raises(UsageError, match="the job begins before any task"):
        fill_parameters(FACTS, {"of": "{{tasks.look.run_id}}"})


def test_a_task_reads_what_another_has_set(tmp_path):
    values = TaskValues(tmp_path / "values")
    Jobs(values, "look").taskValues.set(key="rows", value=3)
    found = Jobs(values, "load").taskValues
    assert found.get(taskKey="look", key="rows") == 3
    assert found.get("look", "files", default=[]) == []
    with pytest.raises(ValueError, match=r"get\('look', 'files'\): it has set rows; give a default"):
        found.get("look", "files", debugValue=1)


def test_without_a_job_a_value_is_the_one_for_debugging():
    alone = Jobs().taskValues
    alone.set("rows", 3)
    assert alone.get("look", "rows", default=1, debugValue=2) == 2
    with pytest.raises(TypeError, match="no job runs this notebook; give a debugValue"):
        alone.get("look", "rows", default=1)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rows", {1, 2}, "set is not JSON serializable"),
        ("rows", float("nan"), "a value is what JSON can say"),
        ("rows", "x" * 49_200, "49,202 bytes of JSON; 48 KiB are the limit"),
        (7, 1, "the key is 7; name it by a text"),
    ],
)
def test_what_is_no_task_value_is_refused(tmp_path, key, value, message):
    with pytest.raises(UsageError, match=message):
        TaskValues(tmp_path).add("look", key, value)
