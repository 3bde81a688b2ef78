"Jobs: when a task starts, how often it is tried, when it must end, and what became of the job."

import threading
import time

import pytest

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.deadline import Deadline
from cdc_local.jobs.scheduler import RUN_IF, check_tasks, job_result, result_without_run, run_job


def task(key, *depends_on, **settings):
    return {"task_key": key, "depends_on": [{"task_key": upstream} for upstream in depends_on], **settings}


def ignore(run):
    pass


def run_alone(run_task, stop=None, on_change=ignore, **settings):
    "Run a job of one task; its record."
    return run_job([task("load", **settings)], run_task, on_change, stop or threading.Event())[0]


def outcome(run_task, stop=None, **settings):
    run = run_alone(run_task, stop, **settings)
    return run.result, run.attempt, run.message


def fail(task, attempt, stop):
    raise PipelineError("no")


def succeed_the_third_time(task, attempt, stop):
    if attempt < 3:
        raise PipelineError(f"attempt {attempt}: the source is not there yet")
    return "42 rows"


def wait_for_the_end(task, attempt, stop):
    stop.wait(5)


# When a task starts


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (["SUCCESS", "SUCCESS"], [None, None, None, None, "EXCLUDED", "EXCLUDED"]),
        (
            ["SUCCESS", "FAILED"],
            ["UPSTREAM_FAILED", None, "UPSTREAM_FAILED", None, None, "EXCLUDED"],
        ),
        (
            ["FAILED", "FAILED"],
            ["UPSTREAM_FAILED", "UPSTREAM_FAILED", "UPSTREAM_FAILED", None, None, None],
        ),
        (["SUCCESS", "EXCLUDED"], [None, None, None, None, "EXCLUDED", "EXCLUDED"]),
        (["EXCLUDED", "EXCLUDED"], ["EXCLUDED"] * 6),
        (
            ["SUCCESS", "CANCELED"],
            ["UPSTREAM_CANCELED", None, "UPSTREAM_CANCELED", None, None, "EXCLUDED"],
        ),
    ],
)
def test_a_condition_decides_whether_a_task_starts(results, expected):
    conditions = (
        "ALL_SUCCESS",
        "AT_LEAST_ONE_SUCCESS",
        "NONE_FAILED",
        "ALL_DONE",
        "AT_LEAST_ONE_FAILED",
        "ALL_FAILED",
    )
    assert list(RUN_IF) == list(conditions)
    assert [result_without_run(condition, results) for condition in conditions] == expected


def test_a_task_that_depends_on_nothing_starts_under_every_condition():
    assert [result_without_run(condition, []) for condition in RUN_IF] == [None] * 6


@pytest.mark.parametrize(
    ("condition", "results", "expected"),
    [
        ("ALL_SUCCESS", ["SUCCESS", "UPSTREAM_FAILED"], "UPSTREAM_FAILED"),
        ("NONE_FAILED", ["EXCLUDED"], "EXCLUDED"),
        ("ALL_FAILED", ["FAILED", "EXCLUDED"], "EXCLUDED"),
        ("AT_LEAST_ONE_FAILED", ["TIMEDOUT", "SUCCESS"], None),
    ],
)
def test_a_task_left_out_or_timed_out_counts_for_those_that_depend_on_it(condition, results, expected):
    assert result_without_run(condition, results) == expected


@pytest.mark.parametrize(
    ("condition", "alone", "succeeded", "failed", "excluded"),
    [
        ("ALL_SUCCESS", "DISABLED", "DISABLED", "DISABLED", "DISABLED"),
        ("AT_LEAST_ONE_SUCCESS", "DISABLED", None, "UPSTREAM_FAILED", "EXCLUDED"),
        ("NONE_FAILED", "DISABLED", None, "UPSTREAM_FAILED", None),
        ("ALL_DONE", None, None, None, None),
        ("AT_LEAST_ONE_FAILED", "DISABLED", "EXCLUDED", None, "EXCLUDED"),
        ("ALL_FAILED", "DISABLED", "DISABLED", "DISABLED", "DISABLED"),
    ],
)
def test_a_disabled_task_has_neither_succeeded_nor_failed(condition, alone, succeeded, failed, excluded):
    others = ([], ["SUCCESS"], ["FAILED"], ["EXCLUDED"])
    found = [result_without_run(condition, ["DISABLED", *results]) for results in others]
    assert found == [alone, succeeded, failed, excluded]


def test_a_disabled_task_is_left_out_and_so_is_what_needs_it():
    ran = []
    tasks = [task("load", disabled=True), task("clean", "load"), task("report", "clean", run_if="ALL_DONE")]
    runs = run_job(tasks, lambda task, *_: ran.append(task["task_key"]) or "", ignore, threading.Event())
    assert ([run.result for run in runs], ran) == (["DISABLED", "DISABLED", "SUCCESS"], ["report"])
    assert job_result(tasks, runs) == "SUCCESS"


# Tasks that cannot be run


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "no tasks"),
        ([task("a"), {}], "task 2 of the job has no task_key"),
        ([task("a"), task("a")], "two tasks are called a"),
        ([task("a", "z")], "task a depends on z, which is no task of the job; it has a"),
        ([task("a", run_if="SOMETIMES")], "run_if 'SOMETIMES' is none of ALL_SUCCESS"),
        (
            [task("a", "c"), task("b", "a"), task("c", "b")],
            "tasks wait for one another: a -> c -> b -> a; take one depends_on out",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_task_starts(tasks, message):
    attempts = []
    with pytest.raises(UsageError) as refused:
        run_job(tasks, lambda *attempt: attempts.append(attempt), ignore, threading.Event())
    assert message in str(refused.value)
    assert attempts == []


def test_tasks_that_can_be_run_pass_the_check():
    check_tasks([task("a"), task("b", "a")])


# When an attempt must end


def test_a_deadline_says_why_an_attempt_must_end():
    stop = threading.Event()
    assert Deadline(stop).reason() is None
    assert Deadline(Deadline(stop, 1e-9)).reason() == "TIMEDOUT"  # of the job as a whole
    stop.set()
    assert Deadline(stop).reason() == "CANCELED"
    assert Deadline(Deadline(stop, 60), 60).reason() == "CANCELED"


def test_waiting_ends_with_the_deadline():
    began = time.monotonic()
    assert Deadline(threading.Event(), 1e-9).wait(5) is True
    assert time.monotonic() - began < 4


# Attempts


def test_a_task_is_tried_again_until_it_succeeds():
    changes = []
    run = run_alone(
        succeed_the_third_time,
        on_change=lambda run: changes.append((run.attempt, run.state, run.message)),
        max_retries=3,
    )
    first, second = (f"attempt {number}: the source is not there yet" for number in (1, 2))
    assert changes == [
        (1, "RUNNING", ""),
        (1, "WAITING_FOR_RETRY", first),
        (2, "RUNNING", first),
        (2, "WAITING_FOR_RETRY", second),
        (3, "RUNNING", second),
        (3, "TERMINATED", ""),
    ]
    assert (run.result, run.output, run.attempt) == ("SUCCESS", "42 rows", 3)


def test_a_task_fails_when_no_attempt_is_left():
    assert outcome(fail, max_retries=2) == ("FAILED", 3, "no")


def test_minus_one_retry_never_gives_up():
    assert outcome(succeed_the_third_time, max_retries=-1) == ("SUCCESS", 3, "")


def test_a_retry_waits_as_long_as_the_task_says():
    began = time.monotonic()
    outcome(fail, max_retries=1, min_retry_interval_millis=200)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("again", "attempts"), [(False, 1), (True, 3)])
def test_an_attempt_that_ran_out_of_time_is_made_again_only_where_the_task_says_so(again, attempts):
    expected = ("TIMEDOUT", attempts, "task load: 0.01 s are over")
    assert outcome(wait_for_the_end, timeout_seconds=0.01, max_retries=2, retry_on_timeout=again) == expected


def test_what_is_wrongly_used_is_not_tried_again():
    def use_wrongly(task, attempt, stop):
        raise UsageError("the notebook is not there")

    assert outcome(use_wrongly, max_retries=2) == ("FAILED", 1, "the notebook is not there")


def test_an_attempt_that_fails_because_the_job_was_stopped_is_canceled():
    stop = threading.Event()

    def stop_and_fail(task, attempt, deadline):
        stop.set()
        raise PipelineError("killed")

    assert outcome(stop_and_fail, stop, max_retries=-1) == ("CANCELED", 1, "task load: the job was stopped")


def test_a_job_that_is_stopped_while_a_task_waits_makes_no_further_attempt():
    attempts, stop = [], threading.Event()

    def fail_and_note(task, attempt, deadline):
        attempts.append(attempt)
        raise PipelineError("no")

    def stop_the_wait(run):
        if run.state == "WAITING_FOR_RETRY":
            stop.set()

    run = run_alone(fail_and_note, stop, stop_the_wait, max_retries=3, min_retry_interval_millis=60_000)
    assert (run.result, attempts) == ("CANCELED", [1])


def test_a_fault_of_the_program_is_raised_and_not_tried_again():
    records = []

    def divide(task, attempt, stop):
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run_alone(divide, on_change=records.append, max_retries=2)
    run = records[-1]
    assert (run.state, run.result, run.attempt) == ("TERMINATED", "FAILED", 1)
    assert run.message == "ZeroDivisionError: ours"


# All tasks

DAILY = [
    task("report", "extract", "transform", run_if="ALL_DONE"),
    task("transform", "extract"),
    task("extract"),
]


def run_daily(*failing):
    "Run a job whose tasks fail as asked: results by task, the job's result, the order of attempts."
    order = []

    def work(task, attempt, stop):
        order.append(task["task_key"])
        if task["task_key"] in failing:
            raise PipelineError(f"{task['task_key']} failed")
        return ""

    runs = run_job(DAILY, work, ignore, threading.Event())
    return {run.task_key: run.result for run in runs}, job_result(DAILY, runs), order


def test_tasks_run_in_the_order_of_their_dependencies():
    results, result, order = run_daily()
    assert results == {"report": "SUCCESS", "transform": "SUCCESS", "extract": "SUCCESS"}
    assert (result, order) == ("SUCCESS", ["extract", "transform", "report"])


def test_a_job_whose_last_task_succeeds_has_succeeded_with_failures():
    results, result, order = run_daily("extract")
    assert results == {"report": "SUCCESS", "transform": "UPSTREAM_FAILED", "extract": "FAILED"}
    assert (result, order) == ("SUCCESS_WITH_FAILURES", ["extract", "report"])


def test_a_job_whose_last_task_fails_has_failed():
    results, result, _ = run_daily("report")
    assert results == {"report": "FAILED", "transform": "SUCCESS", "extract": "SUCCESS"}
    assert result == "FAILED"


def test_a_task_that_never_starts_is_announced_as_well():
    changes = []
    run_job(DAILY, fail, lambda run: changes.append((run.task_key, run.result)), threading.Event())
    assert ("transform", "UPSTREAM_FAILED") in changes


def test_tasks_that_do_not_depend_on_one_another_run_together_and_are_announced_one_by_one():
    meeting = threading.Barrier(2, timeout=10)
    alone, overlapping = threading.Lock(), []

    def meet(task, attempt, stop):
        meeting.wait()
        return ""

    def listen(run):
        if not alone.acquire(blocking=False):
            overlapping.append(run.task_key)
            return
        time.sleep(0.05)
        alone.release()

    runs = run_job([task("left"), task("right")], meet, listen, threading.Event())
    assert [run.result for run in runs] == ["SUCCESS", "SUCCESS"]
    assert overlapping == []


def test_a_job_that_is_stopped_keeps_what_is_done_and_starts_nothing_more():
    stop, tasks = threading.Event(), [task("a"), task("b", "a")]

    def stop_the_job(task, attempt, deadline):
        stop.set()
        return "done"

    runs = run_job(tasks, stop_the_job, ignore, stop)
    assert [(run.result, run.output) for run in runs] == [("SUCCESS", "done"), ("CANCELED", "")]
    assert job_result(tasks, runs) == "CANCELED"


def test_a_job_that_ran_out_of_time_says_so():
    tasks = [task("a"), task("b", "a")]
    runs = run_job(tasks, wait_for_the_end, ignore, Deadline(threading.Event(), 0.01))
    assert [run.result for run in runs] == ["TIMEDOUT", "UPSTREAM_FAILED"]
    assert job_result(tasks, runs) == "TIMEDOUT"
