"Events of the event log as text and as a table."

import json

from cdc_local.reports.events import event_text, events_table


def test_an_event_says_its_message_its_numbers_and_its_error(flow_event, failed):
    running = flow_event("customers", "RUNNING", 1, 12_000, 240)
    assert event_text(running) == "Flow 'customers' is RUNNING.\noutput rows 12,000, dropped 240"
    assert event_text(failed) == "Flow 'customers' is FAILED.\nno column idd"


def test_an_error_that_the_message_has_already_is_not_repeated(failed):
    event = failed | {"message": "Flow 'customers' is FAILED: no column idd"}
    assert event_text(event) == "Flow 'customers' is FAILED: no column idd"


def test_expectations_that_rows_failed_are_named_and_zero_rows_are_told(failed):
    expectations = [{"name": "known", "failed_records": 3}, {"name": "kept", "failed_records": 0}]
    progress = {"metrics": {"num_output_rows": 0}, "data_quality": {"expectations": expectations}}
    event = failed | {"error": None, "details": json.dumps({"flow_progress": progress})}
    assert event_text(event) == "Flow 'customers' is FAILED.\noutput rows 0, known failed 3"


def test_the_event_log_is_a_table_in_utc(flow_event, failed, printed):
    assert printed(events_table([flow_event("customers", "RUNNING", 1, 12_000, 240), failed])) == [
        "Time (UTC)            Level   Event           Message",
        "─────────────────────────────────────────────────────────────────────────────",
        "2026-01-01 00:00:01   INFO    flow_progress   Flow 'customers' is RUNNING.",
        "                                              output rows 12,000, dropped 240",
        "2026-01-01 00:00:07   ERROR   flow_progress   Flow 'customers' is FAILED.",
        "                                              no column idd",
    ]
