"Conditions, loops and what depends on them, in a job that does nothing else."

import threading
import time
from datetime import UTC, datetime
from functools import partial

import pytest

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.attempts import make_attempt
from cdc_local.jobs.conditions import decide
from cdc_local.jobs.for_each import read_inputs
from cdc_local.jobs.running_job import JobFacts, RunningJob
from cdc_local.jobs.scheduler import check_tasks, job_result, run_job


def condition(op, left, right):
    return {"task_key": "if", "condition_task": {"op": op, "left": left, "right": right}}


@pytest.mark.parametrize(
    ("op", "left", "right", "outcome"),
    [
        ("EQUAL_TO", "12", "12", "true"),
        ("EQUAL_TO", "12.0", "12", "false"),
        ("NOT_EQUAL", "a", "b", "true"),
        ("GREATER_THAN", "10", "9", "true"),
        ("GREATER_THAN_OR_EQUAL", "12.0", "12", "true"),
        ("GREATER_THAN_OR_EQUAL", "10.0", "12", "false"),
        ("LESS_THAN", "-1", "1e3", "true"),
        ("LESS_THAN_OR_EQUAL", "0.1", "0.1", "true"),
    ],
)
def test_texts_are_equal_and_numbers_are_ordered(op, left, right, outcome):
    assert decide(condition(op, left, right)) == outcome


def test_order_needs_numbers():
    with pytest.raises(UsageError, match="task if: 'many' is no number, and LESS_THAN compares numbers"):
        decide(condition("LESS_THAN", "many", "1"))
    with pytest.raises(UsageError, match="task if: op 'LIKE' compares nothing; there are EQUAL_TO"):
        check_tasks([condition("LIKE", "a", "b")])


def task(key, *depends_on, **settings):
    upstream = [
        {"task_key": name.partition("=")[0], **({"outcome": name.partition("=")[2]} if "=" in name else {})}
        for name in depends_on
    ]
    return {"task_key": key, "depends_on": upstream, **settings}


def work(key, *depends_on, **settings):
    return task(key, *depends_on, spark_python_task={"parameters": ["{{task.name}}"]}, **settings)


@pytest.fixture
def run(tmp_path):
    "Run a job whose tasks do what a test says; results by key, and all that was noted"

    def run(tasks, do_attempt=lambda attempt: attempt.key, parameters=None):
        facts = JobFacts(1, 2, "daily", datetime.now(UTC))
        job = RunningJob(facts, tasks, parameters or {}, tmp_path / "run", iter(range(3, 999)).__next__)
        noted = {}

        def note(record):
            job.note(record)
            noted[record.task_key] = record

        runs = run_job(tasks, partial(make_attempt, job, do_attempt, note), note, threading.Event())
        return {key: record.result for key, record in noted.items()}, noted, job_result(tasks, runs)

    return run


def test_a_condition_decides_which_branch_runs(run):
    tasks = [
        task("if", condition_task={"op": "GREATER_THAN", "left": "{{job.parameters.n}}", "right": "2"}),
        work("yes", "if=true"),
        work("no", "if=false"),
        work("both", "if"),
        work("after", "no"),
        work("join", "yes", "no"),
        work("always", "no", run_if="ALL_DONE"),
    ]
    results, _, result = run(tasks, parameters={"n": "3"})
    assert results == {
        **dict.fromkeys(("if", "yes", "both", "join"), "SUCCESS"),
        **dict.fromkeys(("no", "after", "always"), "EXCLUDED"),
    }
    assert result == "SUCCESS"
    assert run(tasks, parameters={"n": "2"})[0]["no"] == "SUCCESS"


def test_a_condition_that_fails_fails_what_depends_on_it(run):
    condition_task = {"op": "LESS_THAN", "left": "{{job.parameters.n}}", "right": "2"}
    tasks = [task("if", condition_task=condition_task, max_retries=3), work("yes", "if=true")]
    results, noted, result = run(tasks, parameters={"n": "few"})
    assert (results, result) == ({"if": "FAILED", "yes": "UPSTREAM_FAILED"}, "FAILED")
    assert noted["if"].attempt == 1  # what is wrongly used stays wrong


def test_an_operand_that_is_a_list_is_refused(run, tmp_path):
    def set_files(attempt):
        from cdc_local.source.task_values import TaskValues

        TaskValues(tmp_path / "run" / "values").add("look", "files", ["a"])
        return ""

    condition_task = {"op": "EQUAL_TO", "left": "{{tasks.look.values.files}}", "right": "a"}
    _, noted, _ = run([work("look"), task("if", "look", condition_task=condition_task)], set_files)
    assert "a condition compares texts, numbers, true and false" in noted["if"].message


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([work("a"), work("b", "a=true")], "task b depends on an outcome of a, which is no condition_task"),
        (
            [condition("EQUAL_TO", "1", "1"), work("b", "if=yes")],
            "task b depends on outcome 'yes' of if; a condition has the outcomes 'true' and 'false'",
        ),
        ([task("a", for_each_task={"inputs": "[]"})], "task a: for_each_task has no task with a task_key"),
        (
            [task("a", for_each_task={"inputs": "[]", "task": {"task_key": "b", "for_each_task": {}}})],
            "task a: b is a for_each_task itself",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_task(tasks, message):
    with pytest.raises(UsageError, match=message):
        check_tasks(tasks)


def loop(inputs, concurrency=1, **nested):
    nested = {"task_key": "one", "spark_python_task": {"parameters": ["{{input}}"]}} | nested
    return task("loop", for_each_task={"inputs": inputs, "concurrency": concurrency, "task": nested})


def test_a_loop_runs_its_task_for_each_input_in_order(run):
    done = []

    def do_attempt(attempt):
        done.append((attempt.key, attempt.task["spark_python_task"]["parameters"]))
        return "done"

    results, noted, result = run([loop('["eu", 7]')], do_attempt)
    assert done == [("loop[0]", ["eu"]), ("loop[1]", ["7"])]
    assert results == {"loop": "SUCCESS", "loop[0]": "SUCCESS", "loop[1]": "SUCCESS"}
    assert (noted["loop"].output, result) == ("2 iterations", "SUCCESS")
    assert run([loop("[]")])[0] == {"loop": "SUCCESS"}


def test_a_loop_runs_as_many_at_a_time_as_it_may(run):
    meeting, running, most = threading.Barrier(2, timeout=20), [], []

    def meet(attempt):
        running.append(attempt.key)
        most.append(len(running))
        meeting.wait()
        running.remove(attempt.key)
        meeting.wait()
        return ""

    assert run([loop("[1, 2, 3, 4]", concurrency=2)], meet)[2] == "SUCCESS"
    assert max(most) == 2


def test_a_loop_fails_where_an_iteration_does_and_runs_the_others(run):
    def do_attempt(attempt):
        if attempt.task["spark_python_task"]["parameters"] == ["b"]:
            raise PipelineError("no b today")
        return ""

    results, noted, result = run([loop('["a", "b", "c"]')], do_attempt)
    assert [results[key] for key in ("loop[0]", "loop[1]", "loop[2]", "loop")] == [
        *("SUCCESS", "FAILED", "SUCCESS", "FAILED")
    ]
    assert noted["loop"].message == "1 of 3 iterations failed; loop[1]: no b today"
    assert result == "FAILED"


def test_an_iteration_is_tried_again_as_its_task_says(run):
    def do_attempt(attempt):
        if attempt.number < 2:
            raise PipelineError("not yet")
        return ""

    _, noted, result = run([loop("[1]", max_retries=1)], do_attempt)
    assert (result, noted["loop[0]"].attempt, noted["loop"].attempt) == ("SUCCESS", 2, 1)


@pytest.mark.parametrize(
    ("text", "inputs"), [('["a", {"b": 1}]', ["a", {"b": 1}]), ("['a', 'b']", ["a", "b"]), ("[]", [])]
)
def test_inputs_are_a_list(text, inputs):
    assert read_inputs("loop", text) == inputs


@pytest.mark.parametrize("text", ['{"a": 1}', "a, b", "3", ""])
def test_inputs_that_are_no_list_are_refused(text):
    with pytest.raises(UsageError, match="task loop: inputs is .* which is no list"):
        read_inputs("loop", text)


def test_an_attempt_forgets_what_the_one_before_has_set(run, tmp_path):
    def do_attempt(attempt):
        from cdc_local.source.task_values import TaskValues

        values = TaskValues(tmp_path / "run" / "values")
        assert values.read("look") == {}
        values.add("look", "rows", attempt.number)
        if attempt.number == 1:
            raise PipelineError("too few")
        return ""

    assert run([work("look", max_retries=1)], do_attempt)[2] == "SUCCESS"


def test_the_interval_of_attempts_counts_from_the_start_of_the_one_before(run):
    began = []

    def do_attempt(attempt):
        began.append(time.monotonic())
        time.sleep(0.3)
        raise PipelineError("not yet")

    run([work("load", max_retries=1, min_retry_interval_millis=400)], do_attempt)
    assert 0.4 <= began[1] - began[0] < 0.65
