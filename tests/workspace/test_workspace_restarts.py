"What a server that was stopped or killed leaves, and what the next one finds"

import io
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

from databricks.sdk.service import catalog
from served_workspace import HOME, SOON, client, daily, make_volume, open_workspace


def test_a_restart_keeps_everything(storage, work):
    with open_workspace(storage, work) as running:
        w = client(running)
        place, job = make_volume(w), daily(w)
        w.files.upload(f"{place}/x", io.BytesIO(b"x"))
        w.grants.update(
            "volume",
            "main.shop.raw",
            changes=[catalog.PermissionsChange(principal="readers", add=[catalog.Privilege.READ_VOLUME])],
        )
        run = w.jobs.run_now(job).result(timeout=SOON)
        before = (
            w.workspace.get_status(HOME).object_id,
            w.jobs.get(job).as_dict(),
            w.jobs.get_run(run.run_id).as_dict()["tasks"],
            w.schemas.get("main.shop").as_dict(),
        )
    with open_workspace(storage, work) as running:
        w = client(running)
        assert before == (
            w.workspace.get_status(HOME).object_id,
            w.jobs.get(job).as_dict(),
            w.jobs.get_run(run.run_id).as_dict()["tasks"],
            w.schemas.get("main.shop").as_dict(),
        )
        assert (
            w.files.download(f"{place}/x").contents.read() == b"x"
            and w.grants.get("volume", "main.shop.raw").privilege_assignments[0].principal == "readers"
        )
        assert (
            w.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result
            == "{'of': 'today', 'day': 'today'}"
        )


def test_a_stop_cancels_what_runs(storage, work):
    work.may_end.clear()
    with open_workspace(storage, work) as running:
        started = client(running).jobs.run_now(daily(client(running)))
        assert work.began.acquire(timeout=60)
    with open_workspace(storage, work) as running:
        assert client(running).jobs.get_run(started.run_id).state.result_state.value == "CANCELED"


def test_a_stop_ends_everything(storage, work):
    "A run, its update, and another update that waits."
    work.may_end.clear()
    with open_workspace(storage, work) as running:
        w, state = client(running), running.workspace.state
        w.jobs.run_now(daily(w))
        assert work.began.acquire(timeout=60)
        w.pipelines.start_update(w.pipelines.create(name="other").pipeline_id)
        closing = threading.Thread(target=running.workspace.work.close, daemon=True)
        closing.start()
        closing.join(timeout=20)
        ended = not closing.is_alive()
        work.may_end.set()
    assert (
        ended
        and [state.all("runs")[0]["result"]] + sorted(each["state"] for each in state.all("updates"))
        == ["CANCELED"] * 3
    )


SERVER = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from served_workspace import Work, open_workspace
from cdc_local.storage import Storage
work = Work()
work.may_end.clear()
with open_workspace(Storage(sys.argv[1]).create(), work) as running:
    print(running.host, flush=True)
    work.began.acquire()
    print('began', flush=True)
    threading.Event().wait()
"""


def test_a_killed_server_says_what_became_of_its_runs(storage, work):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(storage.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        w = client(SimpleNamespace(host=process.stdout.readline().strip()))
        started = w.jobs.run_now(daily(w))
        assert process.stdout.readline() == "began\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with open_workspace(storage, work) as running:
        w = client(running)
        run = w.jobs.get_run(started.run_id)
        assert (run.state.life_cycle_state.value, run.state.result_state.value) == (
            "INTERNAL_ERROR",
            "FAILED",
        ) and "the local workspace ended" in run.state.state_message
        assert [task.state.result_state.value for task in run.tasks] == ["SUCCESS", "FAILED"]
        pipeline = next(iter(w.pipelines.list_pipelines()))
        assert (pipeline.state.value, pipeline.latest_updates[0].state.value) == ("IDLE", "FAILED")
        assert w.jobs.run_now(run.job_id).result(timeout=SOON).state.result_state.value == "SUCCESS"
