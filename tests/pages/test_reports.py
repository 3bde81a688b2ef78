"An update as one file: a page without a server, Markdown, test results"

import re
from xml.etree import ElementTree

import pytest
from shown_storages import (
    CLEAN,
    NEW,
    OLD,
    TOTALS,
    definition,
    progress,
    record_begin,
    record_flow,
    record_state,
)
from typer.testing import CliRunner

from cdc_local.cli.main import app
from cdc_local.pages.event_cache import EventCache
from cdc_local.pages.rendering import escape_markdown
from cdc_local.pages.report import html_report, junit_report, markdown_report
from cdc_local.pages.summaries import summarize_update
from cdc_local.update.event_log import EventLog

HOSTILE = "<script>alert(1)</script>|`x`\n# big \x00"


def summary_of(storage, update_id):
    return summarize_update(EventCache(storage).updates()[update_id])


@pytest.fixture
def hostile(storage):
    with EventLog(storage.event_log_path, HOSTILE, "evil") as log:
        record_begin(log)
        rule = {"dataset": HOSTILE, "name": HOSTILE, "passed_records": 1, "failed_records": 1}
        rules = [{"name": HOSTILE, "constraint": HOSTILE, "action": "drop"}]
        record_flow(
            log,
            HOSTILE,
            definition(HOSTILE, [], expectations=rules),
            progress("FAILED", 1, 1, [rule]),
            error=HOSTILE,
        )
        record_state(log, "FAILED")
    return summary_of(storage, "evil")


def test_a_page_needs_no_server(logged):
    page = html_report(summary_of(logged, NEW))
    assert not re.search(r"<script|<link|<a |src=|@import|url\((?!#)|sse-", page)
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    assert "↑ 1,900" in page and "99.50 %" in page and ".tile {" in page


def test_markdown_says_it_in_tables(logged):
    lines = markdown_report(summary_of(logged, NEW)).splitlines()
    assert lines[0].startswith("### shop: COMPLETED in ")
    assert "2,000 rows in, 5,983 written, 10 dropped" in lines[2]
    assert "| history | completed | 1,990 | 1,900 | 90 |" in "\n".join(lines)
    assert "| valid\\_id | clean | 1,990 | 10 |" in lines
    assert "shop.py:12: no column" in markdown_report(summary_of(logged, OLD))


def test_a_broken_rule_is_a_failed_test(logged):
    suites = ElementTree.fromstring(junit_report(summary_of(logged, NEW)).encode())
    clean = suites.find(f"testsuite[@name='{CLEAN}']")
    assert (clean.get("tests"), clean.get("failures")) == ("3", "1")
    assert clean.find("testcase[@name='valid_id']/failure").get("message") == "10 of 2,000 rows broke it"
    assert clean.find("testcase[@name='known_city']/failure") is None
    totals = ElementTree.fromstring(junit_report(summary_of(logged, OLD)).encode()).find(
        f"testsuite[@name='{TOTALS}']"
    )
    assert totals.find("testcase/failure") is not None


def test_a_rule_that_only_warns_fails_no_test(storage):
    with EventLog(storage.event_log_path, "shop", "warns") as log:
        rule = {"dataset": CLEAN, "name": "small", "passed_records": 1, "failed_records": 2}
        rules = [{"name": "small", "constraint": "n < 9", "action": "warn"}]
        record_begin(log)
        record_flow(
            log, CLEAN, definition(CLEAN, [], expectations=rules), progress("COMPLETED", 3, 0, [rule])
        )
    suites = ElementTree.fromstring(junit_report(summary_of(storage, "warns")).encode())
    assert suites.find("testsuite").get("failures") == "0"
    assert suites.find(".//system-out").text == "2 of 3 rows broke it"


def test_hostile_names_stay_text(hostile):
    assert "<script>" not in html_report(hostile)
    markdown = markdown_report(hostile)
    assert not re.search(r"(?<!\\)<script|(?<!\\)`x|^# big", markdown, re.M)
    assert ElementTree.fromstring(junit_report(hostile).encode()).find(".//failure") is not None


def test_markdown_keeps_a_text_on_one_line():
    assert escape_markdown("a|b\n<c> `d` \\") == "a\\|b \\<c\\> \\`d\\` \\\\"


def test_the_command_writes_a_file_or_prints(logged, tmp_path):
    def run(*typed):
        return CliRunner().invoke(app, ["report", "--storage", str(logged.root), *typed])

    file = tmp_path / "update.html"
    assert run("-o", str(file)).output.strip().endswith("update.html") and NEW in file.read_text()
    assert run(OLD[:4], "--format", "markdown").output.startswith("### shop: FAILED")
    missing = run("none")
    assert missing.exit_code == 2 and "knows no update" in missing.output and NEW[:8] in missing.output
    unwritable = run("-o", str(tmp_path / "none" / "x"))
    assert unwritable.exit_code == 2 and "cannot be written" in unwritable.output
