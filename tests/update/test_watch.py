"Updates that go on: when another one runs, and what ends them."

import signal
import sys
import threading
import time

import pytest

pytest.importorskip("pyspark")

from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import Storage, StorageInUseError, lock_storage
from cdc_local.update import watch
from cdc_local.update.request import UpdateRequest
from cdc_local.update.watch import await_change, watch_updates
from cdc_local.update.watched_files import WatchedFile, WatchedFolder, changed_files, take_snapshot
from cdc_utils.results import UpdateResult


class Loop:
    "A pipeline in a folder whose updates do what a test says: each step stands for one, the last is stopped."

    def __init__(self, folder, monkeypatch):
        self.folder, self.steps, self.updates, self.requests, self.waited = folder, [], [], [], []
        self.sessions = []
        self.write("etl.py")
        self.write("landing/one.json")
        monkeypatch.setattr(watch, "run_update", self.run_update)
        monkeypatch.setattr(
            watch, "renew_session", lambda restart_workers: self.sessions.append(restart_workers)
        )
        monkeypatch.chdir(folder)

    def write(self, name, text="x"):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + str(time.monotonic()))

    def run_update(self, request, listener, inputs):
        self.requests.append(request)
        if not self.steps:
            return UpdateResult("u", "CANCELED")
        inputs.add_paths("landing")
        return self.steps.pop(0)(inputs) or UpdateResult("u", "COMPLETED")

    def run(self, *steps, afterwards=lambda number: None, **options):
        self.steps, self.afterwards = list(steps), afterwards
        return watch_updates(UpdateRequest(("etl.py",), self.folder / "store", **options), self)

    def begin(self):
        pass

    def show_event(self, event):
        pass

    def wait_for_storage(self, error):
        self.waited.append(error)

    def end(self, update):
        self.updates.append(update)
        self.afterwards(len(self.updates))

    def causes(self):
        return [[path.name for path in update.changed] for update in self.updates]


@pytest.fixture
def loop(tmp_path, monkeypatch):
    return Loop(tmp_path, monkeypatch)


def analysed(inputs):
    inputs.on_analysed()


def test_an_update_runs_after_each_change_of_sources_and_input(loop):
    changes = {1: "landing/two.json", 2: "etl.py", 3: "landing/later/three.json", 4: "landing/one.json"}

    def change(number):
        if number in changes:
            threading.Timer(0.3, loop.write, [changes[number]]).start()

    (loop.folder / "landing/later").mkdir()
    assert loop.run(*[analysed] * 4, afterwards=change).state == "CANCELED"
    assert loop.causes() == [[], ["two.json"], ["etl.py"], ["three.json"], ["one.json"]]
    assert loop.sessions == [False, True, False, False]


def test_changes_during_an_update_bring_one_more(loop):
    def change_meanwhile(inputs):
        inputs.on_analysed()
        loop.write("landing/two.json")
        loop.write("landing/three.json")
        loop.write("etl.py")

    loop.run(change_meanwhile)
    assert loop.causes() == [[], ["etl.py", "three.json", "two.json"]]


def test_a_source_that_changes_before_it_was_analysed_brings_one_more(loop):
    def change_before(inputs):
        loop.write("etl.py")
        inputs.on_analysed()

    loop.run(change_before)
    assert loop.causes() == [[], ["etl.py"]]


def test_a_module_that_changes_in_the_update_that_imported_it_first_brings_one_more(loop):
    module = loop.folder / "lib/rules/one.py"
    module.parent.mkdir(parents=True)
    module.write_text("x")
    time.sleep(0.05)

    def import_then_change(inputs):
        inputs.modules |= {module, module.parent}
        inputs.on_analysed()
        loop.write("lib/rules/one.py")

    loop.run(import_then_change)
    assert loop.causes() == [[], ["one.py"]]


def test_input_that_source_files_generate_is_no_change(loop):
    def generate(inputs):
        loop.write("landing/generated.json")
        inputs.on_analysed()

    def change(number):
        threading.Timer(0.5, loop.write, ["etl.py"]).start()

    loop.run(generate, generate, afterwards=change)
    assert loop.causes() == [[], ["etl.py"], ["etl.py"]]


def test_errors_end_nothing_and_what_was_known_is_watched_on(loop):
    def fail(inputs):
        inputs.paths.clear()
        raise PipelineError("no column idd")

    changes = ["etl.py", "landing/two.json", "etl.py", "etl.py"]
    loop.run(analysed, fail, analysed, afterwards=lambda number: loop.write(changes[number - 1]))
    assert loop.causes() == [[], ["etl.py"], ["two.json"], ["etl.py"]]
    assert [str(update.error) for update in loop.updates] == ["None", "no column idd", "None", "None"]


def test_a_fault_of_ours_ends_it(loop, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def fail(inputs):
        assert sys.dont_write_bytecode
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(fail)
    assert not sys.dont_write_bytecode and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_full_refresh_is_of_the_first_update_that_begins_its_flows(loop):
    def fail(inputs):
        raise PipelineError("a mistake")

    loop.run(
        fail, analysed, afterwards=lambda number: loop.write("etl.py"), full_refresh=("a",), refresh=("b",)
    )
    assert [(asked.full_refresh, asked.refresh) for asked in loop.requests] == [
        (("a",), ("b",)),
        (("a",), ("b",)),
        ((), ("b",)),
    ]


def test_an_update_that_goes_on_is_resumed(loop):
    loop.run(analysed, afterwards=lambda number: loop.write("etl.py"), continuous=True, update_id="u1")
    assert [(asked.resumed, asked.update_id) for asked in loop.requests] == [(False, "u1"), (True, "u1")]


def test_a_storage_in_use_is_waited_for(loop):
    def in_use(inputs):
        raise StorageInUseError("storage x is in use by another update (process 7)")

    loop.run(in_use, analysed, afterwards=lambda number: loop.write("etl.py"))
    assert [asked.waits_for_storage for asked in loop.requests] == [False, True, False]
    assert len(loop.waited) == 1 and loop.causes() == [[], ["etl.py"]]


def test_without_a_source_file_nothing_begins(loop):
    (loop.folder / "etl.py").unlink()
    with pytest.raises(UsageError, match="no such file"):
        loop.run(analysed)
    assert loop.requests == []


def test_sources_that_went_may_come_back(loop):
    def gone(inputs):
        raise UsageError("no such file or folder: etl.py")

    def change(number):
        if number == 1:
            (loop.folder / "etl.py").unlink()
        if number == 2:
            threading.Timer(0.3, loop.write, ["etl.py"]).start()

    loop.run(analysed, gone, afterwards=change)
    assert loop.causes() == [[], ["etl.py"], ["etl.py"]]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_updates_ends_it_without_an_error(loop, kind):
    def interrupt(number):
        threading.Timer(0.5, signal.raise_signal, [kind]).start()

    assert loop.run(analysed, analysed, afterwards=interrupt) is None
    assert len(loop.updates) == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_during_an_update_is_the_updates_own(loop):
    def interrupt(inputs):
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        loop.run(interrupt)


def test_a_file_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "_QUIET_SECONDS", 2.0)  # a busy machine lets a writer wait
    monkeypatch.setattr(watch, "_MOST_QUIET_SECONDS", 60.0)
    file, storage = tmp_path / "landing/big.json", Storage(tmp_path / "store")
    file.parent.mkdir()
    watched, finished = {WatchedFolder(file.parent, storage)}, threading.Event()

    def write():
        for _ in range(12):
            with file.open("a") as out:
                out.write("a line\n")
            time.sleep(0.3)
        finished.set()

    writer = threading.Timer(0.3, write)
    writer.start()
    now = await_change(lambda: watched, take_snapshot(watched))
    assert [path for files in now.values() for path in files] == [file] and finished.is_set()


def test_a_file_that_is_always_written_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "_MOST_QUIET_SECONDS", 0.5)
    file, ended = tmp_path / "log.py", threading.Event()
    file.touch()
    before = take_snapshot({WatchedFile(file)})

    def write():
        while not ended.wait(0.02):
            with file.open("a") as out:
                out.write("a line\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert changed_files(before, await_change(lambda: {WatchedFile(file)}, before)) == {file: True}
    finally:
        ended.set()
        writer.join()


def test_a_lock_says_who_has_it_or_is_waited_for(tmp_path):
    storage = Storage(tmp_path / "store").create()
    in_use = pytest.raises(StorageInUseError, match="in use by another update")
    with lock_storage(storage), in_use, lock_storage(storage):
        pass
    order = []

    def wait():
        with lock_storage(storage, waits=True):
            order.append("waited")

    with lock_storage(storage):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.3)
        order.append("released")
    waiting.join(10)
    assert order == ["released", "waited"]
