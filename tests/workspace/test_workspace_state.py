"Notes on disk, the numbers of jobs and runs, and what a new server makes of lost work"

from itertools import pairwise

import pytest

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import State, new_number, settle_lost_work


def test_a_note_outlives_the_server_until_it_is_deleted(storage, state):
    state.write("grants", "schema/main.a/b", {"readers": ["SELECT"]})
    assert State(storage, "ann").find("grants", "schema/main.a/b") == {"readers": ["SELECT"]}
    state.delete("grants", "schema/main.a/b")
    assert state.find("grants", "schema/main.a/b") is None
    assert State(storage, "ann").all("grants") == []


def test_a_key_cannot_leave_the_folder_of_its_kind(storage, state):
    state.write("grants", "../../x", {})
    assert [path.name for path in (storage.root / "workspace/grants").iterdir()] == ["..%2F..%2Fx.json"]


def test_a_note_that_is_not_there_is_refused_with_the_message_of_the_call(state):
    with pytest.raises(CallError, match=r"Job 7 does not exist\."):
        state.get("jobs", 7, "Job 7 does not exist.")


def test_numbers_grow_and_leave_room_for_those_that_were_taken():
    numbers = [new_number(5) for _ in range(100)]
    assert all(later - earlier >= 5 for earlier, later in pairwise(numbers))
    assert numbers[-1] < 2**52


def test_what_a_server_left_running_is_failed_once(storage, state):
    tasks = [
        {"task_key": "a", "state": "TERMINATED", "result": "SUCCESS"},
        {"task_key": "b", "state": "RUNNING"},
    ]
    state.write("runs", 1, {"run_id": 1, "state": "RUNNING", "tasks": tasks})
    state.write("runs", 2, {"run_id": 2, "state": "TERMINATED", "result": "SUCCESS", "tasks": []})
    state.write("updates", "u", {"update_id": "u", "pipeline_id": "p", "state": "WAITING_FOR_RESOURCES"})
    again = State(storage, "ann")
    assert [settle_lost_work(again), settle_lost_work(again)] == [2, 0]
    assert again.find("updates", "u")["state"] == "FAILED"
    run = again.find("runs", 1)
    assert (run["state"], run["result"]) == ("INTERNAL_ERROR", "FAILED")
    assert [(task["task_key"], task["result"]) for task in run["tasks"]] == [
        ("a", "SUCCESS"),
        ("b", "FAILED"),
    ]
    assert again.find("runs", 2)["result"] == "SUCCESS"
