"""Updates that go on: one now, and one whenever a source file or what it reads has changed.

Each update has a Spark session of its own in one JVM, and imports the user's modules anew: nothing of the
update before is left in it.
"""

import importlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.engines.session import renew_session
from cdc_local.errors import PipelineError, UsageError, is_users_mistake
from cdc_local.source.files import discover_sources
from cdc_local.storage import StorageInUseError
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_local.update.watched_files import (
    Snapshot,
    Watched,
    changed_files,
    list_folders,
    list_watched_code,
    list_watched_inputs,
    take_snapshot,
)
from cdc_utils.results import UpdateResult

_QUIET_SECONDS = 0.2  # How long changed files must stay as they are: perhaps they are being written
_MOST_QUIET_SECONDS = 5.0  # A file that is written to without end is not waited for any longer
_STEP_MILLISECONDS = 50  # Changes that follow each other so closely are one
_POLL_MILLISECONDS = 500  # How often Ctrl-C is looked for


@dataclass(frozen=True)
class WatchedUpdate:
    "One update of those that go on."

    changed: tuple[Path, ...]  # Files that had changed; none for the first update
    seconds: float  # Wall clock
    result: UpdateResult | None = None  # What it did; None where it failed before its flows began
    error: PipelineError | ValueError | None = None  # Why it failed before its flows began
    watched: tuple[Watched, ...] = ()  # What the next update waits for
    is_dry_run: bool = False  # Whether nothing was written


class WatchListener(Protocol):
    "Hears of updates that go on."

    def begin(self) -> None:
        "An update begins."

    def show_event(self, event: dict[str, Any]) -> None:
        "Something happened in it."

    def wait_for_storage(self, error: StorageInUseError) -> None:
        "Another process has locked the storage; the update begins when it is free."

    def end(self, update: WatchedUpdate) -> None:
        "An update ended."


@dataclass
class _Known:
    "What is known of the files that updates depend on."

    inputs: UpdateInputs = field(default_factory=UpdateInputs)  # What the newest update read
    snapshot: Snapshot = field(default_factory=dict)  # How files were when the newest update read them


def watch_updates(
    request: UpdateRequest,  # What to run; its full refresh is of the first update that gets as far as that
    listener: WatchListener,  # Hears of each update
) -> UpdateResult | None:  # The update that Ctrl-C stopped; None where it came between two updates
    """Run an update now and after each change, until Ctrl-C or SIGTERM.

    Errors of an update go to the listener and end nothing. Raises `UsageError` where there is no source
    file at first, and `KeyboardInterrupt` for Ctrl-C before the flows of an update began.
    """
    discover_sources(list(request.sources))
    known, changed = _Known(), dict[Path, bool]()
    known.snapshot = take_snapshot(_list_watched(request, known))
    with _until_stopped():
        while True:
            update = _run_once(request, listener, known, changed)
            listener.end(update)
            if update.result is not None and update.result.state == "CANCELED":
                return update.result
            request = _next_request(request, update)
            try:
                now = await_change(partial(_list_watched, request, known), known.snapshot)
                changed, known.snapshot = changed_files(known.snapshot, now), now
                renew_session(restart_workers=any(changed.values()))
            except KeyboardInterrupt:
                return None


@contextmanager
def _until_stopped() -> Iterator[None]:
    "Let SIGTERM do what Ctrl-C does, and Python store no compiled modules: it compares them by the second."
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        if is_main:
            signal.signal(signal.SIGTERM, handler)


def _next_request(
    request: UpdateRequest,  # Of the update that ended
    update: WatchedUpdate,  # What it did
) -> UpdateRequest:  # Of the update that follows
    "Leave out the full refresh once it has been done, and go on with an update that is continuous."
    if update.result is None:
        return replace(request, resumed=request.continuous)
    return replace(request, resumed=request.continuous, full_refresh=(), full_refresh_all=False)


def _run_once(
    request: UpdateRequest,  # What to run
    listener: WatchListener,  # Hears of it
    known: _Known,  # Takes what it reads
    changed: Iterable[Path],  # Files that had changed
) -> WatchedUpdate:
    "Run one update; an error that the user can mend is a part of what is returned."
    started, began, inputs = time.monotonic(), time.time_ns(), UpdateInputs()

    def note_inputs() -> None:
        "Look at the inputs before flows read them, and after source files wrote there what they generate."
        known.snapshot |= take_snapshot(list_watched_inputs(request, inputs))

    inputs.on_analysed = note_inputs
    importlib.invalidate_caches()
    listener.begin()
    result: UpdateResult | None = None
    error: PipelineError | ValueError | None = None
    try:
        result = _run_unlocked(request, listener, inputs)
    except (PipelineError, ValueError) as wrong:
        if not is_users_mistake(wrong):
            raise
        error = wrong
    if error is not None:
        _add_inputs(inputs, known.inputs)
    known.inputs = inputs
    _learn(request, known, began)
    watched = tuple(known.snapshot)
    return WatchedUpdate(tuple(changed), time.monotonic() - started, result, error, watched, request.dry_run)


def _run_unlocked(
    request: UpdateRequest,  # What to run
    listener: WatchListener,  # Hears of it
    inputs: UpdateInputs,  # Takes what it reads
) -> UpdateResult:
    "Run an update, when no other process updates this storage."
    try:
        return run_update(request, listener.show_event, inputs)
    except StorageInUseError as error:
        listener.wait_for_storage(error)
    return run_update(replace(request, waits_for_storage=True), listener.show_event, inputs)


def _add_inputs(
    inputs: UpdateInputs,  # What an update read that failed: perhaps a part of what it would have read
    earlier: UpdateInputs,  # What the one before it read
) -> None:
    "Count what an earlier update read among the inputs of one that failed."
    inputs.paths |= earlier.paths
    inputs.tables |= earlier.tables
    inputs.sources |= earlier.sources
    inputs.modules |= earlier.modules


def _learn(
    request: UpdateRequest,  # The update that ended
    known: _Known,  # Has what it read; takes how files are that nobody looked at before
    began: int,  # When the update began, nanoseconds since 1970
) -> None:
    "Look at what is new; of code that changed since the update began, another version may have run."
    watched = _list_watched(request, known)
    new = take_snapshot(watched - known.snapshot.keys())
    for part, files in new.items():
        if part.is_code:
            new[part] = {file: stamp for file, stamp in files.items() if stamp[0] < began}
    known.snapshot = {part: files for part, files in (new | known.snapshot).items() if part in watched}


def _list_watched(
    request: UpdateRequest,  # The updates
    known: _Known,  # What is known of them
) -> set[Watched]:
    "List all that an update depends on."
    return list_watched_code(request, known.inputs) | list_watched_inputs(request, known.inputs)


def await_change(
    list_watched: Callable[[], set[Watched]],  # Lists what to look at, as it is when it is called
    before: Snapshot,  # Files as they were
) -> Snapshot:  # Files as they are now
    "Wait until files differ from what they were, and stay as they are for a moment."
    for _ in _wake_ups(lambda: list_folders(list_watched())):
        after = take_snapshot(list_watched())
        if changed_files(before, after):
            return _settle(list_watched, after)
    raise AssertionError("there is always another wake-up")


def _settle(
    list_watched: Callable[[], set[Watched]],  # Lists what to look at
    snapshot: Snapshot,  # Files as they are
) -> Snapshot:  # Files as they are, for `_QUIET_SECONDS` already
    "Wait until nothing changes any more."
    latest = time.monotonic() + _MOST_QUIET_SECONDS
    while time.monotonic() < latest:
        time.sleep(_QUIET_SECONDS)
        later = take_snapshot(list_watched())
        if later == snapshot:
            break
        snapshot = later
    return snapshot


def _wake_ups(
    list_folders_now: Callable[[], set[Path]],  # Lists the folders to watch
) -> Iterator[None]:  # Without end
    "Wake up at once, and whenever something happens in the folders, which may become others meanwhile."
    from watchfiles import watch

    yield
    while True:
        folders, has_looked = list_folders_now(), False
        with suppress(FileNotFoundError), _explained_limit(len(folders)):  # a folder may go away meanwhile
            for events in watch(
                *folders,
                recursive=False,
                watch_filter=None,
                step=_STEP_MILLISECONDS,
                rust_timeout=_POLL_MILLISECONDS,
                yield_on_timeout=True,
            ):
                if not events and has_looked:
                    continue
                has_looked = True  # once without an event, for what happened before the watch began
                yield
                if list_folders_now() != folders:
                    break


@contextmanager
def _explained_limit(
    count: int,  # How many folders are watched
) -> Iterator[None]:
    "Raise `UsageError` where the system does not watch so many folders."
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(
            f"{count} folders cannot be watched: {error}",
            hint="raise fs.inotify.max_user_watches, or set WATCHFILES_FORCE_POLLING=true",
        ) from None
