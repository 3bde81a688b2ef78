"An update as it is shown: what events say of a flow, and each style of showing it."

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console

from cdc_local.delta.rows import format_count
from cdc_local.reports.tables import make_console
from cdc_local.reports.update import (
    FlowState,
    UpdateProgress,
    flow_label,
    flows_table,
    result_table,
    summarize_result,
)
from cdc_utils.results import ENDED_FLOW_STATUSES, FlowResult, UpdateResult

TABLE = "main.default.customers"


# What is known of a flow


def state_of(*events):
    state = FlowState("customers_cdc_clean")
    for event in events:
        state.add(event)
    return state


@pytest.fixture
def clean(flow_event):
    "The state of a flow that has ended."
    return state_of(
        flow_event("customers_cdc_clean", "QUEUED", 0),
        flow_event("customers_cdc_clean", "RUNNING", 2, 12_000, 240),
        flow_event("customers_cdc_clean", "RUNNING", 5, 7_500, 160),
        flow_event("customers_cdc_clean", "COMPLETED", 6),
    )


def test_rows_of_several_events_are_added_up(clean, start):
    assert (clean.status, clean.rows(), clean.dropped) == ("COMPLETED", 19_500, 400)
    assert clean.seconds(start) == 4.0


def test_rows_read_are_a_total_already(flow_event):
    state = state_of(
        flow_event("customers", "RUNNING", 1, read=8_000),
        flow_event("customers", "RUNNING", 1, read=20_000),
        flow_event("customers", "RUNNING", 2),
    )
    assert (state.read, state.rows()) == (20_000, None)


def test_a_flow_that_gave_no_number_is_not_one_of_zero_rows():
    assert FlowState("a", metrics={"num_upserted_rows": 5, "num_deleted_rows": 2}).rows() == 7
    assert FlowState("b").rows() is None
    assert FlowState("b", metrics={"num_output_rows": 0}).rows() == 0


def test_seconds_are_counted_up_to_now_while_a_flow_runs(flow_event, start):
    state = state_of(flow_event("customers", "RUNNING", 2))
    assert state.seconds(start + timedelta(seconds=5)) == 3.0
    assert FlowState("customers").seconds(start) is None


@pytest.mark.parametrize("status", ENDED_FLOW_STATUSES)
def test_a_flow_that_has_ended_takes_no_more_time(flow_event, start, status):
    state = state_of(flow_event("customers", "RUNNING", 2), flow_event("customers", status, 3))
    assert state.has_ended()
    assert state.seconds(start + timedelta(seconds=60)) == 1.0


def test_a_flow_is_called_by_its_own_name_or_by_its_tables():
    assert flow_label(TABLE, TABLE) == "customers"
    assert flow_label("from.files", TABLE) == "from.files"


def test_flows_are_shown_one_a_line_and_what_was_merged_only_once(clean, start, printed):
    merged = FlowState(
        "customers",
        status="COMPLETED",
        metrics={"num_upserted_rows": 4_800, "num_deleted_rows": 200},
        started=start,
        ended=start + timedelta(seconds=3.25),
    )
    assert printed(flows_table([clean, merged, FlowState("customers_history")], start)) == [
        "Flow                  Status        Rows   Upserted   Deleted   Dropped   Seconds",
        "─────────────────────────────────────────────────────────────────────────────────",
        "customers_cdc_clean   COMPLETED   19,500                            400       4.0",
        "customers             COMPLETED               4,800       200                 3.2",
        "customers_history     QUEUED",
    ]


def test_a_column_of_rows_read_is_there_once_a_flow_says_them(flow_event, start, printed):
    state = state_of(flow_event("customers_cdc_clean", "RUNNING", 0, read=8_000))
    lines = printed(flows_table([state], start))
    assert lines[0].split() == ["Flow", "Status", "Read", "Rows", "Dropped", "Seconds"]
    assert lines[2].split() == ["customers_cdc_clean", "RUNNING", "8,000", "0.0"]


# How it is shown


def show(story, style="auto", file=None):
    "Show events in a style; what was written."
    file = file or io.StringIO()
    with UpdateProgress(make_console(file), style) as progress:
        for event in story:
            progress.show_event(event)
    return file.getvalue()


def test_in_a_pipe_a_flow_has_a_line_where_it_begins_and_where_it_ends(story):
    assert [line.rstrip() for line in show(story).splitlines()] == [
        "customers_cdc_clean              RUNNING",
        "customers_cdc_clean              COMPLETED  19,500 rows, 400 dropped, 5.0 s",
        "customers                        FAILED     0.0 s",
    ]


def test_a_failed_flow_has_no_error_while_it_runs_since_the_end_has_it(story):
    assert "no column idd" not in show(story)


@pytest.mark.parametrize(
    "details, step",
    [
        ({"create_update": {"source_files": 3}}, "Starting"),
        ({"update_progress": {"state": "INITIALIZING"}}, "Analysing 3 source files"),
        ({"update_progress": {"state": "INITIALIZING", "engine": "spark"}}, "Starting Spark"),
        ({"update_progress": {"state": "SETTING_UP_TABLES"}}, "Setting up tables"),
        ({"update_progress": {"state": "RUNNING"}}, "Setting up tables"),
        ({"flow_definition": {"output_dataset": "RUNNING"}}, "Setting up tables"),
    ],
)
def test_a_terminal_shows_what_an_update_does_before_its_flows_run(failed, details, step):
    told = [{"create_update": {"source_files": 3}}, {"update_progress": {"state": "SETTING_UP_TABLES"}}]
    progress = UpdateProgress(make_console(io.StringIO()), "quiet")
    for each in (told[0], *(told[1:] if "RUNNING" in str(details) else ()), details):
        progress.show_event(
            failed | {"event_type": "update_progress", "origin": "{}", "details": json.dumps(each)}
        )
    file = io.StringIO()
    Console(file=file, width=60).print(progress.render())
    assert file.getvalue().split(maxsplit=1)[1].strip() == step


def test_an_update_says_its_steps_and_leaves_its_error_for_the_end(failed):
    ended = failed | {"event_type": "update_progress", "message": "Update 1f2e is FAILED.", "origin": "{}"}
    created = failed | {"event_type": "create_update", "message": "Update 1f2e begins.", "level": "INFO"}
    assert show([created, ended]).splitlines() == ["Update 1f2e begins.", "Update 1f2e is FAILED."]


def test_a_skipped_flow_has_no_seconds(flow_event):
    assert show([flow_event("customers", "SKIPPED", 1)]).split() == ["customers", "SKIPPED"]


def test_for_a_program_every_event_is_one_line_of_json(story):
    events = [json.loads(line) for line in show(story, "json").splitlines()]
    assert len(events) == len(story)
    assert events[0]["timestamp"] == "2026-01-01T00:00:00Z"
    assert json.loads(events[2]["details"])["flow_progress"]["metrics"] == {"num_output_rows": 12_000}


def test_quiet_shows_nothing(story):
    assert show(story, "quiet") == ""


def test_other_events_of_a_flow_are_no_progress_of_it(flow_event):
    defined = flow_event("customers", "RUNNING", 0, event_type="flow_definition")
    progress = UpdateProgress(make_console(io.StringIO()))
    progress.show_event(defined)
    assert progress.flows == {} and progress.console.file.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_drawn_over_and_leaves_errors_for_the_end(story, printed):
    file = Terminal()
    console = Console(file=file, force_terminal=True, width=100, force_jupyter=False)
    with UpdateProgress(console) as progress:
        for event in story:
            progress.show_event(event)
    written = file.getvalue()
    assert "\x1b[" in written and "COMPLETED" in written and "no column idd" not in written
    assert printed(progress.table()) == [
        "Flow                  Status        Rows   Dropped   Seconds",
        "────────────────────────────────────────────────────────────",
        "customers_cdc_clean   COMPLETED   19,500       400       5.0",
        "customers             FAILED                             0.0",
    ]


@pytest.mark.parametrize("details, is_shown", [({"engine": "spark"}, True), ({}, False)])
def test_a_terminal_shows_why_an_update_runs_on_spark(failed, details, is_shown):
    text = json.dumps({"update_progress": {"state": "INITIALIZING"} | details})
    why = {"event_type": "update_progress", "message": "It runs on Spark: a sink.", "error": None}
    event = failed | why | {"level": "INFO", "origin": "{}", "details": text}
    file = Terminal()
    with UpdateProgress(Console(file=file, force_terminal=True, width=100, force_jupyter=False)) as progress:
        progress.show_event(event)
    assert ("It runs on Spark: a sink." in file.getvalue()) == is_shown


def test_the_style_is_live_in_a_terminal_and_what_was_asked_otherwise():
    console = make_console(Terminal())
    styles = [UpdateProgress(console, style).style for style in ("auto", "json", "quiet")]
    assert styles == ["live", "json", "quiet"]
    assert UpdateProgress(make_console(io.StringIO())).style == "lines"


# What it did in the end


def test_the_result_of_an_update_is_a_table_of_its_flows(printed):
    clean = "main.default.customers_cdc_clean"
    flows = [
        FlowResult(clean, clean, "COMPLETED", 19_500, None, None, 400, seconds=4.04),
        FlowResult("customers", TABLE, "COMPLETED", None, 4_800, 200, 0, seconds=3.25),
    ]
    assert printed(result_table(flows)) == [
        "Flow                  Status        Rows   Upserted   Deleted   Dropped   Seconds",
        "─────────────────────────────────────────────────────────────────────────────────",
        "customers_cdc_clean   COMPLETED   19,500                            400       4.0",
        "customers             COMPLETED               4,800       200                 3.2",
    ]


def test_the_table_of_a_long_name_fits_a_narrow_terminal():
    flows = [FlowResult("customers_history_agg", TABLE, "COMPLETED", 19_500, 4_800, 200, 400, seconds=4.04)]
    file = io.StringIO()
    Console(file=file, width=80).print(result_table(flows))
    assert max(map(len, file.getvalue().splitlines())) <= 80 and "customers_history_agg " in file.getvalue()


def summary(flows, state="COMPLETED", seconds=None):
    return summarize_result(UpdateResult("u1", state, tuple(flows)), seconds)


def test_the_last_line_counts_rows_and_tables():
    written = FlowResult("a", TABLE, "COMPLETED", 19_500, None, None, 0)
    merged = FlowResult("b", "main.default.history", "COMPLETED", None, 1, 0, 0)
    idle = FlowResult("c", "main.default.idle", "COMPLETED", 0, None, None, 0)
    assert summary([written, merged, idle], seconds=2.04) == (
        "Update u1 is COMPLETED: 19,501 rows into 2 tables, 2.0 s."
    )
    assert summary([merged, idle]) == "Update u1 is COMPLETED: 1 row into 1 table."


def test_the_last_line_says_that_nothing_was_new_and_nothing_of_what_failed():
    idle = FlowResult("c", "main.default.idle", "COMPLETED", 0, None, None, 0)
    assert summary([idle], seconds=0.84) == "Update u1 is COMPLETED: nothing new, 0.8 s."
    assert summary([idle], "FAILED") == "Update u1 is FAILED."
    assert summary([]) == "Update u1 is COMPLETED."


def test_a_number_of_things_has_their_plural():
    assert [format_count(number, "row") for number in (0, 1, 1_000)] == ["0 rows", "1 row", "1,000 rows"]
