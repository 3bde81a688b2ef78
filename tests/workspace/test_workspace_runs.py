"Runs and updates below the calls: their turns, their outcome, their output, and how the API shows them"

import threading

import pytest
from served_workspace import Work

from cdc_local.errors import PipelineError
from cdc_local.update.event_log import EventLog
from cdc_local.workspace.background import BackgroundWork
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.job_definitions import create_job
from cdc_local.workspace.pipeline_definitions import get_pipeline, store_pipeline
from cdc_local.workspace.pipeline_events import list_events
from cdc_local.workspace.pipeline_views import describe_pipeline
from cdc_local.workspace.run_output import read_output
from cdc_local.workspace.run_views import describe_run, describe_run_state
from cdc_local.workspace.runs import Runs, run_outcome
from cdc_local.workspace.state import ENDED_STATES, LOST_MESSAGE
from cdc_local.workspace.updates import Updates


class Worker:
    "Runs, updates, and work that lasts until it may end"

    def __init__(self, state):
        self.state = state
        self.began, self.may_end = threading.Semaphore(0), threading.Event()
        self.may_end.set()
        execution = Execution(Work().run_job, self.do_task, self.do_update)
        self.work = BackgroundWork(state)
        self.updates = Updates(self.work, execution)
        self.runs = Runs(self.work, execution, self.updates, "http://127.0.0.1:8765")
        self.etl, self.shop = (
            store_pipeline(state, {"name": name})["pipeline_id"] for name in ("etl", "shop")
        )

    def do_task(self, attempt, job, environments, on_line):
        notebook = attempt.task["notebook_task"]
        on_line(f"looking at {notebook['base_parameters']['day']}")
        if notebook["notebook_path"].endswith("bad"):
            raise PipelineError("ZeroDivisionError: division by zero")
        return "seen"

    def do_update(self, pipeline, update, stop, on_line):
        self.began.release()
        while not (self.may_end.is_set() or stop.is_set()):
            stop.wait(0.01)
        if update["full_refresh"]:
            raise PipelineError("a table is missing")

    def create_job(self, path="/Users/ann/look", **settings):
        look = {"task_key": "look", "notebook_task": {"notebook_path": path}}
        load = {
            "task_key": "load",
            "depends_on": [{"task_key": "look"}],
            "pipeline_task": {"pipeline_id": self.etl},
        }
        parameters = [{"name": "day", "default": "today"}]
        return create_job(
            self.state, {"name": "daily", "parameters": parameters, "tasks": [look, load], **settings}
        )["job_id"]

    def run(self, job_id, **request):
        return self.work.wait("runs", self.runs.start(job_id, request)["run_id"])

    def update(self, pipeline_id, **settings):
        return self.work.wait("updates", self.updates.start(pipeline_id, settings)["update_id"])


@pytest.fixture
def worker(state):
    worker = Worker(state)
    yield worker
    worker.may_end.set()
    worker.work.close()


def test_an_update_waits_for_another_pipelines_and_is_canceled_while_it_waits(worker, state):
    worker.may_end.clear()
    first = worker.updates.start(worker.etl, {})["update_id"]
    worker.began.acquire()
    with pytest.raises(CallError, match="An active update"):
        worker.updates.start(worker.etl, {})
    second = worker.updates.start(worker.shop, {})["update_id"]
    states = [state.find("updates", update_id)["state"] for update_id in (first, second)]
    assert states == ["RUNNING", "WAITING_FOR_RESOURCES"]
    assert worker.updates.stop(worker.shop) == [second]
    assert worker.work.wait("updates", second)["state"] == "CANCELED"
    worker.may_end.set()
    assert worker.work.wait("updates", first)["state"] == "COMPLETED"
    view = describe_pipeline(state, get_pipeline(state, worker.etl))
    assert view["latest_updates"][0]["update_id"] == first


def test_an_update_of_a_continuous_pipeline_goes_on_beside_others_until_it_is_stopped(worker, state):
    worker.may_end.clear()
    settings = {"name": "live", "continuous": True}
    live = store_pipeline(state, settings)["pipeline_id"]
    going_on = worker.updates.start(live, {})["update_id"]
    worker.began.acquire()
    other = worker.updates.start(worker.etl, {})["update_id"]
    worker.began.acquire()
    assert [state.find("updates", key)["state"] for key in (going_on, other)] == ["RUNNING", "RUNNING"]
    assert describe_pipeline(state, get_pipeline(state, live))["state"] == "RUNNING"
    assert worker.updates.stop(live) == [going_on]
    assert worker.work.wait("updates", going_on)["state"] == "CANCELED"
    assert state.find("updates", other)["state"] == "RUNNING"
    assert worker.updates.stop(worker.etl) == [other]
    worker.work.wait("updates", other)
    with pytest.raises(CallError, match="a job's task updates triggered pipelines only"):
        worker.updates.start(live, {}, "JOB_TASK")


def test_an_update_keeps_the_parameters_that_it_was_given(worker, state):
    update = worker.updates.start(worker.etl, {"parameters": {"day": "2"}})["update_id"]
    assert worker.work.wait("updates", update)["parameters"] == {"day": "2"}
    with pytest.raises(CallError, match="parameters is .'day': 2.; it must be names with texts"):
        worker.updates.start(worker.etl, {"parameters": {"day": 2}})


def test_an_update_that_only_validates_has_no_turn(worker, state):
    worker.may_end.clear()
    first = worker.updates.start(worker.etl, {})["update_id"]
    worker.began.acquire()
    validating = worker.updates.start(worker.shop, {"validate_only": True})["update_id"]
    worker.began.acquire()
    assert [state.find("updates", key)["state"] for key in (first, validating)] == ["RUNNING", "RUNNING"]
    with pytest.raises(CallError, match="An active update"):
        worker.updates.start(worker.shop, {})
    worker.may_end.set()
    assert worker.work.wait("updates", validating)["validate_only"] is True
    assert worker.work.wait("updates", first)["validate_only"] is False


def test_a_failed_update_says_why_and_leaves_the_pipeline_idle(worker, state):
    failed = worker.update(worker.etl, full_refresh=True)
    assert (failed["state"], failed["message"]) == ("FAILED", "a table is missing")
    assert describe_pipeline(state, get_pipeline(state, worker.etl))["state"] == "IDLE"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"refresh_selection": "orders"}, "it must be a list of names"),
    ],
)
def test_an_update_that_cannot_be_done_is_refused(worker, settings, message):
    with pytest.raises(CallError, match=message):
        worker.updates.start(worker.etl, settings)
    with pytest.raises(CallError, match=r"The specified pipeline none was not found\."):
        worker.updates.start("none", {})


def test_events_are_those_of_the_pipeline_and_meet_the_filter(worker, state):
    update_id = worker.update(worker.etl, full_refresh=True)["update_id"]
    (error,) = list_events(state, worker.etl, f"update_id = '{update_id}' AND level in ('ERROR')")["events"]
    assert [cause["message"] for cause in error["error"]["exceptions"]] == ["a table is missing"]
    newer = f"update_id = '{update_id}' AND timestamp > '{error['timestamp']}'"
    assert list_events(state, worker.etl, newer) == {"events": []}
    assert list_events(state, worker.shop)["events"] == []
    assert list_events(state, worker.etl, "event_type = 'flow_progress'")["events"] == []


def test_events_come_in_pages_the_newest_first(worker, state):
    update_id = worker.update(worker.etl)["update_id"]
    with EventLog(state.storage.event_log_path, "etl", update_id) as events:
        for number in range(3):
            events.record("flow_progress", f"step {number}")

    def messages(*arguments, **options):
        page = list_events(state, worker.etl, f"update_id='{update_id}'", *arguments, **options)
        return [event["message"] for event in page["events"]], page.get("next_page_token")

    newest, token = messages(max_results=2)
    assert newest == ["step 2", "step 1"]
    assert messages(max_results=2, page_token=token) == (["step 0"], None)
    oldest, token = messages("timestamp asc", max_results=2)
    assert oldest == ["step 0", "step 1"]
    last = list_events(state, worker.etl, page_token=token)["events"]
    assert [event["message"] for event in last] == ["step 2"], "a token says of which list it is"
    assert list_events(state, worker.etl, "update_id = 'x'", page_token=token)["events"] == last


def test_each_step_of_an_update_names_its_state(worker, state):
    "`databricks pipelines run` looks for one in every message, and fails where there is none."
    update_id = worker.update(worker.etl)["update_id"]
    with EventLog(state.storage.event_log_path, "etl", update_id) as events:
        events.record("update_progress", "Update 1 is RUNNING.")
        events.record("update_progress", "CLUSTER BY has no effect", "WARN")
        events.record("flow_progress", "step")
    told = [event["message"] for event in list_events(state, worker.etl)["events"]]
    warning = f"Update {update_id[:8]} is INITIALIZING: CLUSTER BY has no effect"
    assert told == ["step", warning, "Update 1 is RUNNING."]


@pytest.mark.parametrize("token", ["7", "x", "W10=", "eyI=", "WzEsMiwibm9uZSJd"])
def test_a_page_token_that_is_none_is_refused(worker, state, token):
    with pytest.raises(CallError, match="is none that this workspace gave"):
        list_events(state, worker.etl, page_token=token)


def test_an_order_that_is_not_known_is_refused(worker, state):
    with pytest.raises(CallError, match="order_by 'level' is not known here; write timestamp asc"):
        list_events(state, worker.etl, order_by="level")


@pytest.mark.parametrize(
    "text",
    [
        "message = 'x'",
        "update_id = 7",
        "level in 'ERROR'",
        "timestamp > 'noon'",
        "timestamp in ('noon')",
        "nonsense",
    ],
)
def test_a_filter_that_is_not_known_is_refused(worker, state, text):
    with pytest.raises(CallError, match="filter"):
        list_events(state, worker.etl, text)


def task_notes(**results):
    "Tasks of a run that ended; all others depend on `a`"
    return [
        {
            "task_key": key,
            "result": result,
            "message": "Oops",
            "definition": {"depends_on": [{"task_key": "a"}] if key != "a" else []},
        }
        for key, result in results.items()
    ]


@pytest.mark.parametrize(
    "results, outcome",
    [
        ({"a": "SUCCESS", "b": "SUCCESS"}, ("TERMINATED", "SUCCESS", "")),
        ({"a": "FAILED", "b": "SUCCESS"}, ("TERMINATED", "SUCCESS_WITH_FAILURES", "")),
        ({"a": "SUCCESS", "b": "EXCLUDED"}, ("TERMINATED", "SUCCESS", "")),
        (
            {"a": "FAILED", "b": "UPSTREAM_FAILED"},
            ("INTERNAL_ERROR", "FAILED", "Task a failed with message: Oops."),
        ),
    ],
)
def test_the_last_tasks_decide_how_a_run_ended(results, outcome):
    assert tuple(run_outcome(task_notes(**results)).values()) == outcome


def test_a_run_that_was_stopped_is_canceled_or_late():
    tasks = task_notes(a="SUCCESS")
    assert run_outcome(tasks, is_stopped=True)["result"] == "CANCELED"
    assert run_outcome(tasks, is_stopped=True, is_late=True)["result"] == "TIMEDOUT"


@pytest.mark.parametrize(
    "note, status",
    [
        ({"state": "RUNNING"}, {"state": "RUNNING"}),
        ({"state": "WAITING_FOR_RETRY"}, {"state": "WAITING"}),
        (
            {"state": "QUEUED", "message": "wait"},
            {
                "state": "QUEUED",
                "queue_details": {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": "wait"},
            },
        ),
        (
            {"state": "INTERNAL_ERROR", "result": "FAILED", "message": LOST_MESSAGE},
            {
                "state": "TERMINATED",
                "termination_details": {
                    "code": "INTERNAL_ERROR",
                    "type": "INTERNAL_ERROR",
                    "message": LOST_MESSAGE,
                },
            },
        ),
        (
            {"state": "TERMINATED", "result": "UPSTREAM_FAILED"},
            {
                "state": "TERMINATED",
                "termination_details": {"code": "SKIPPED", "type": "CLIENT_ERROR", "message": ""},
            },
        ),
    ],
)
def test_newer_clients_read_the_status_of_a_run(note, status):
    assert describe_run_state(note)["status"] == status


def test_older_clients_read_the_state_of_a_run():
    note = {"state": "TERMINATED", "result": "FAILED", "message": "Workload failed"}
    assert describe_run_state(note)["state"] == {
        "life_cycle_state": "TERMINATED",
        "state_message": "Workload failed",
        "user_cancelled_or_timedout": False,
        "result_state": "FAILED",
    }


def test_a_run_has_outputs_of_its_tasks_and_an_update(worker, state):
    run = worker.run(worker.create_job(), job_parameters={"day": "friday"})
    view = describe_run(run)
    assert view["job_parameters"] == [{"name": "day", "default": "today", "value": "friday"}]
    assert view["state"]["result_state"] == "SUCCESS"
    assert [
        (task["task_key"], task["state"]["result_state"], task["run_duration"]) for task in view["tasks"]
    ] == [("look", "SUCCESS", 1000), ("load", "SUCCESS", 1000)]
    look, load = (read_output(state, task["run_id"]) for task in run["tasks"])
    assert look["notebook_output"]["result"] == "seen" and "notebook_output" not in load
    assert state.all("updates")[-1]["cause"] == "JOB_TASK"


def test_the_output_of_a_failed_task_says_why_with_what_it_printed(worker, state):
    run = worker.run(worker.create_job("/Users/ann/bad"))
    assert [task["result"] for task in run["tasks"]] == ["FAILED", "UPSTREAM_FAILED"]
    assert run["message"] == "Task look failed with message: Workload failed, see run output for details."
    output = read_output(state, run["tasks"][0]["run_id"])
    assert (output["error"], output["error_trace"]) == (
        "ZeroDivisionError: division by zero",
        "looking at today",
    )
    with pytest.raises(CallError, match="runs with multiple tasks is not supported"):
        read_output(state, run["run_id"])
    with pytest.raises(CallError, match=r"Run 7 does not exist\."):
        read_output(state, 7)


def test_a_second_run_waits_in_the_queue_of_its_job(worker, state):
    worker.may_end.clear()
    job_id = worker.create_job(queue={"enabled": True})
    first = worker.runs.start(job_id, {"idempotency_token": "once"})
    assert worker.runs.start(job_id, {"idempotency_token": "once"})["run_id"] == first["run_id"]
    worker.began.acquire()
    queued = worker.runs.start(job_id, {"only": ["look"]})
    canceled = worker.runs.start(job_id, {})
    worker.runs.cancel(canceled["run_id"])
    assert worker.work.wait("runs", canceled["run_id"])["result"] == "CANCELED"
    assert (queued["state"], [task["task_key"] for task in queued["tasks"]]) == ("QUEUED", ["look"])
    worker.runs.cancel(first["run_id"])
    assert worker.work.wait("runs", first["run_id"])["result"] == "CANCELED"
    assert worker.work.wait("runs", queued["run_id"])["result"] == "SUCCESS"
    assert state.all("updates")[-1]["state"] == "CANCELED"
    with pytest.raises(CallError, match=r"Run 7 does not exist\."):
        worker.runs.cancel(7)


def test_a_second_run_is_skipped_where_the_job_has_no_queue(worker, state):
    worker.may_end.clear()
    job_id = worker.create_job()
    worker.runs.start(job_id, {})
    worker.began.acquire()
    skipped = worker.runs.start(job_id, {})
    details = describe_run_state(skipped)["status"]["termination_details"]
    assert (skipped["state"], details["code"]) == ("SKIPPED", "MAX_CONCURRENT_RUNS_EXCEEDED")
    worker.work.close()
    notes = state.all("runs") + state.all("updates")
    assert len(notes) == 3 and all(note["state"] in ENDED_STATES for note in notes)
