"`cdc events` and `cdc feed`: the event log of a storage, and a feed to fill one."

import json

import pytest
from typed_commands import typed

from cdc_local.cli.feed import Envelope
from cdc_local.storage import Storage
from cdc_local.update.event_log import EventLog
from cdc_utils.envelopes.mock_feeds import FORMS
from cdc_utils.feed import feed_day


def test_levels_and_limits_of_events(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    with EventLog(storage.event_log_path, "customers", "u1") as log:
        for level in ("INFO", "WARN", "ERROR"):
            log.record("update_progress", f"a word of {level}", level)

    def levels(*more):
        return [
            json.loads(line)["level"]
            for line in typed(
                "events", "--format", "json", *more, "--storage", str(storage.root)
            ).stdout.splitlines()
        ]

    assert [levels("--level", level) for level in ("INFO", "WARN", "ERROR")] == [
        ["INFO", "WARN", "ERROR"],
        ["WARN", "ERROR"],
        ["ERROR"],
    ]
    assert [
        typed("events", "--format", "json", "--limit", "0", "--storage", str(storage.root)).stdout,
        levels("--limit", "2"),
    ] == ["", ["WARN", "ERROR"]]


@pytest.fixture
def events(storage):
    "Type `cdc events` over a log of two updates, of which the first failed."
    for update in ("first", "second"):
        with EventLog(storage.event_log_path, "customers", update) as log:
            log.record("create_update", f"Update {update} started.")
            details = {"flow_progress": {"status": "COMPLETED", "metrics": {"num_output_rows": 3}}}
            text = "Flow 'customers' is COMPLETED."
            log.record("flow_progress", text, flow_name="customers", details=details)
            if update == "first":
                error = ValueError("no column idd")
                log.record("update_progress", "Update first is FAILED.", "ERROR", error=error)
    return lambda *words: typed("events", *words, "--storage", str(storage.root))


def test_the_newest_update_is_shown_where_none_is_named(events):
    text = events().stdout
    assert "second" in text and "first" not in text and "output rows 3" in text
    assert events("--level", "ERROR").stdout == "no events\n"


def test_events_are_chosen_by_update_level_and_type(events):
    assert len(events("--all", "--format", "json").stdout.splitlines()) == 5
    failed = json.loads(events("--update-id", "first", "--level", "ERROR", "--format", "json").stdout)
    assert failed["level"] == "ERROR"
    assert json.loads(failed["error"])["exceptions"][0]["message"] == "no column idd"
    started = events("--all", "--type", "create_update", "--format", "json").stdout
    assert len(started.splitlines()) == 2
    newest = json.loads(events("--all", "--limit", "1", "--format", "json").stdout)
    assert newest["event_type"] == "flow_progress"


def test_an_update_that_the_log_does_not_know_is_refused(events):
    wrong = events("--update-id", "third")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "error: no update 'third' in the event log; the newest are first, second\n",
    )


def test_a_feed_lands_in_the_volume_below_the_storage(storage):
    folder = "/Volumes/main/default/raw_data/customers"
    words = ("feed", folder, "--rows", "200", "--files", "2", "--storage", str(storage.root))
    counts = json.loads(typed(*words, "--format", "json").stdout)
    assert (counts["rows"], counts["files"]) == (200, 2)
    written = sorted((storage.root / folder.lstrip("/")).glob("*.json"))
    assert sum(len(path.read_bytes().splitlines()) for path in written) == 200
    assert typed(*words, "--quiet").stdout == ""
    wrong = typed("feed", folder, "--rows", "0", "--storage", str(storage.root))
    assert (wrong.exit_code, wrong.stderr) == (2, "error: rows is 0; give 1 or more\n")


@pytest.mark.parametrize("envelope", FORMS)
def test_a_feed_is_written_in_the_envelope_that_is_named(tmp_path, envelope):
    words = ("feed", str(tmp_path), "--rows", "60", "--files", "1", "--envelope", envelope)
    counts = json.loads(typed(*words, "--format", "json").stdout)
    [path] = tmp_path.iterdir()
    [expected], summary = feed_day(rows=60, files=1, form=FORMS[envelope])
    assert path.read_text().splitlines() == [*FORMS[envelope].header, *expected]
    assert (counts["rows"], counts["updates"]) == (summary.rows, summary.updates)


def test_every_envelope_of_a_feed_has_its_option():
    assert [each.value for each in Envelope] == ["plain", *FORMS]
