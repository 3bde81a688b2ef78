"The pages of updates and events: what they show, whom they answer, what they say of a broken storage"

import asyncio
import hashlib
import os
import re
import threading
from html import unescape

import pytest
from shown_storages import (
    CLEAN,
    HISTORY,
    NEW,
    OLD,
    RAW,
    TOKEN,
    definition,
    open_pages,
    progress,
    record_begin,
    record_flow,
    record_state,
)
from starlette.testclient import TestClient

from cdc_local.errors import PipelineError
from cdc_local.pages.app import PAGES, create_app
from cdc_local.pages.event_cache import EventCache
from cdc_local.pages.live import LivePart, _send_changes
from cdc_local.pages.rendering import ROOM, format_seconds, format_short_cell
from cdc_local.pages.summaries import summarize_update
from cdc_local.update.event_log import EventLog
from cdc_local.update.unwritten_events import UnwrittenEvents, read_unwritten, unwritten_folder


def text_of(response):
    "What a reader sees of a page"
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.text)).split())


# --- who may look -------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(logged):
    app = create_app(logged, TOKEN, threading.Event())
    return TestClient(app, base_url="http://127.0.0.1:80", follow_redirects=False)


def test_a_token_opens_the_pages_once_and_a_cookie_then(stranger):
    assert stranger.get("/").status_code == 401
    sent_on = stranger.get("/events", params={"level": "WARN", "token": TOKEN})
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/events?level=WARN")
    cookie = sent_on.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert stranger.get("/events").status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
def test_a_wrong_token_is_refused(stranger, token):
    refused = stranger.get("/", params={"token": token})
    assert refused.status_code == 401 and TOKEN not in refused.text and "set-cookie" not in refused.headers


def test_a_wrong_token_is_refused_beside_a_right_cookie(stranger):
    stranger.get("/", params={"token": TOKEN})
    assert stranger.get("/", params={"token": "wrong"}).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_another_host_is_refused(stranger, host):
    assert stranger.get("/", params={"token": TOKEN}, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/events", "/static/pages.css", "/nothing"])
def test_another_method_is_refused(pages, method, path):
    assert pages.request(method, path).status_code == 405


def test_the_way_back_from_the_token_leads_to_no_other_host(stranger):
    sent_on = stranger.get("http://127.0.0.1:80//evil.example/", params={"token": TOKEN})
    assert sent_on.headers["location"] == "/evil.example/"


def test_static_files_want_the_token_too(stranger):
    assert stranger.get("/static/pages.css").status_code == 401


@pytest.mark.parametrize("path", ["/", f"/updates/{NEW}", "/static/htmx.min.js", "/nothing"])
def test_every_answer_forbids_what_is_not_of_this_server(pages, path):
    headers = pages.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


def test_templates_have_no_script_and_no_style_of_their_own():
    for template in (ROOM / "templates").iterdir():
        text = template.read_text()
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|\|\s*safe|https?://", text), template


def test_what_comes_from_others_is_as_it_came():
    hashes = {
        "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
        "htmx-sse.min.js": "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
    }
    for name, expected in hashes.items():
        assert hashlib.sha256((ROOM / "static" / name).read_bytes()).hexdigest() == expected


# --- updates ------------------------------------------------------------------------------------------------


def test_updates_are_listed_newest_first(pages):
    text = text_of(pages.get("/"))
    newest, oldest = text.index(NEW[:8]), text.index(OLD[:8])
    assert newest < oldest
    assert "completed" in text[newest:oldest] and "2,000 5,983 10 1 of 2 broken" in text[newest:oldest]
    assert "failed" in text[oldest:]


def test_a_long_list_has_parts(storage):
    for number in range(51):
        with EventLog(storage.event_log_path, "shop", f"{number:08d}") as log:
            record_begin(log)
            record_state(log, "COMPLETED")
    pages = open_pages(storage)
    first, second = text_of(pages.get("/")), text_of(pages.get("/?from=50"))
    assert "1–50 of 51" in first and "00000050" in first and "00000000" not in first
    assert "51–51 of 51" in second and "00000000" in second


def test_a_command_that_is_no_update_is_listed_with_its_words(storage):
    with EventLog(storage.event_log_path, "replay", "33333333") as log:
        log.record("user_action", "2 rows landed")
    assert "33333333 replay command" in text_of(open_pages(storage).get("/"))


def test_an_update_is_shown_with_graph_numbers_and_rules(pages):
    response = pages.get(f"/updates/{NEW}")
    text = text_of(response)
    assert "Rows in 2,000" in text and "Rules broken 1 of 2" in text
    assert "valid_id clean 1,990 10 99.50 %" in text and "known_city clean 2,000 0 100 %" in text
    drawn = re.search(r'aria-label="(Flow graph: [^"]*)"', response.text)[1]
    for told in (
        "clean (streaming table) reads raw",
        "changes (view) reads clean",
        "history (streaming table) reads changes;",
        "totals (materialized view) reads rates, history",
        "rates (not of this pipeline)",
    ):
        assert told in drawn, drawn
    assert response.text.count("marker-end") == 5
    assert "↑ 1,900 × 90" in text


def test_an_update_is_found_by_its_first_letters_and_as_the_newest(pages):
    for name in (NEW[:4], "newest"):
        assert NEW in pages.get(f"/updates/{name}").text


def test_an_update_that_is_not_there_names_those_that_are(pages):
    response = pages.get("/updates/nothing")
    assert response.status_code == 404 and NEW[:8] in response.text


def test_a_failed_update_leads_to_the_line(pages):
    text = text_of(pages.get(f"/updates/{OLD}"))
    assert "What went wrong" in text and "shop.py:12: no column `amout`" in text


def test_a_dataset_is_shown_with_rules_definition_columns_events(pages):
    text = text_of(pages.get(f"/dataset?update={NEW}&name={CLEAN}"))
    for told in (
        "Reads raw Is read by changes",
        "valid_id id IS NOT NULL else drop",
        "Declared at shop.py:3 def clean(): ...",
        "id bigint",
        "Flow main.shop.clean is COMPLETED.",
    ):
        assert told in text
    assert "keys id, sequence at, SCD type 2" in text_of(pages.get(f"/dataset?update={NEW}&name={HISTORY}"))
    assert pages.get(f"/dataset?update={NEW}&name=none").status_code == 404


def test_an_older_log_that_says_less_is_shown(storage):
    with EventLog(storage.event_log_path, "shop", "44444444") as log:
        record_begin(log)
        details = {"flow_definition": {"output_dataset": "a.b.t", "input_datasets": ["a.b.s"]}}
        log.record("flow_definition", "Flow t defined as complete.", "INFO", "t", "a.b.t", details)
        record_state(log, "COMPLETED")
    pages = open_pages(storage)
    assert "t (materialized view) reads s" in pages.get("/updates/44444444").text
    assert pages.get("/dataset?update=44444444&name=a.b.t").status_code == 200


def test_a_log_that_tells_of_a_circle_is_shown_without_a_graph(storage):
    with EventLog(storage.event_log_path, "shop", "55555555") as log:
        record_flow(log, "f", definition("a.b.t", ["a.b.u"]))
        record_flow(log, "g", definition("a.b.u", ["a.b.t"]))
    response = open_pages(storage).get("/updates/55555555")
    assert response.status_code == 200 and '<svg class="flows' not in response.text


# --- events -------------------------------------------------------------------------------------------------


def test_events_are_filtered(pages):
    assert text_of(pages.get("/events")).count("flow_definition") == 8
    errors = text_of(pages.get("/events?level=ERROR"))
    assert "Flow main.shop.totals has failed" in errors and "flow_definition" not in errors
    assert "No event matches" in pages.get(f"/events?level=ERROR&update={NEW}").text
    of_flow = pages.get(f"/events?flow=ingest&update={NEW}").text.split("<tbody>")[1]
    assert of_flow.count("<tr") == 4
    assert pages.get("/events?level=LOUD").status_code == 404


def test_many_events_have_parts(storage):
    with EventLog(storage.event_log_path, "shop", "66666666") as log:
        for number in range(120):
            log.record("user_action", f"event number {number}.")
    pages = open_pages(storage)
    assert "event number 119." in pages.get("/events").text
    older = pages.get("/events?from=100").text
    assert "event number 19." in older and "event number 20." not in older


# --- while an update runs -----------------------------------------------------------------------------------


def test_what_is_not_in_the_table_yet_is_shown(storage):
    pages = open_pages(storage)
    assert "Nothing has run here yet" in pages.get("/").text
    with EventLog(storage.event_log_path, "shop", "77777777") as log:
        record_begin(log)
        assert "running" in text_of(pages.get("/"))
        record_flow(log, "ingest", definition(RAW, []), progress("RUNNING", 7))
        assert "7 rows" in text_of(pages.get("/updates/77777777"))
        assert "sse-connect" in pages.get("/updates/77777777").text
        log.flush()
        assert not list(unwritten_folder(storage.event_log_path).iterdir())
        assert "7 rows" in text_of(pages.get("/updates/77777777"))
        record_state(log, "COMPLETED")
    assert "completed" in text_of(pages.get("/"))
    assert "sse-connect" not in pages.get("/updates/77777777").text


def test_a_killed_update_says_so(storage):
    unwritten = UnwrittenEvents(storage.event_log_path, "88888888")
    log = EventLog(storage.event_log_path, "shop", "88888888", unwritten.add)
    record_begin(log)
    number = os.fork()
    if number == 0:
        os._exit(0)
    os.waitpid(number, 0)
    unwritten.path.rename(unwritten.path.with_name(f"88888888.{number}.jsonl"))
    assert "killed" in text_of(open_pages(storage).get("/"))


def test_a_line_that_is_being_written_is_left_for_later(storage):
    unwritten = UnwrittenEvents(storage.event_log_path, "99999999")
    record_begin(EventLog(storage.event_log_path, "shop", "99999999", unwritten.add))
    with unwritten.path.open("a") as file:
        file.write('{"id": "half')
    [update] = read_unwritten(storage.event_log_path)
    assert update.is_alive and len(update.events) == 2


def test_a_running_update_is_followed_to_its_end(storage):
    cache, drawn = EventCache(storage), []
    log = EventLog(storage.event_log_path, "shop", "aaaaaaaa").__enter__()
    record_begin(log)

    def draw():
        summary = summarize_update(cache.updates()["aaaaaaaa"])
        drawn.append(summary.state)
        return LivePart(f"state\n{summary.state}", not summary.is_running)

    async def read():
        sent = []
        async for part in _send_changes(cache, draw, threading.Event()):
            sent.append(part)
            if "RUNNING" in part:
                record_state(log, "COMPLETED")
                log.flush()
        return sent

    sent = asyncio.run(asyncio.wait_for(read(), 20))
    assert sent[0] == "event: part\ndata: state\ndata: RUNNING\n\n"
    assert sent[-2:] == ["event: part\ndata: state\ndata: COMPLETED\n\n", "event: end\ndata: \n\n"]
    assert drawn[0] == "RUNNING"


def test_following_ends_with_the_server(storage):
    stopping = threading.Event()
    stopping.set()

    async def read():
        return [part async for part in _send_changes(EventCache(storage), LivePart, stopping)]

    assert asyncio.run(asyncio.wait_for(read(), 5)) == []


def test_each_file_of_the_log_is_read_once(logged, monkeypatch):
    import pyarrow.parquet as pq

    read, real = [], pq.read_table
    monkeypatch.setattr(pq, "read_table", lambda file, **options: read.append(file) or real(file, **options))
    cache = EventCache(logged)
    assert list(cache.updates()) == [NEW, OLD]
    cache.updates()
    with EventLog(logged.event_log_path, "shop", "bbbbbbbb") as log:
        record_begin(log)
    assert list(cache.updates())[0] == "bbbbbbbb"
    assert len(read) == len(set(read)) == 3


def test_a_compacted_log_brings_nothing_twice(logged):
    from deltalake import DeltaTable

    cache = EventCache(logged)
    before = {name: len(update.events) for name, update in cache.updates().items()}
    DeltaTable(str(logged.event_log_path)).optimize.compact()
    assert {name: len(update.events) for name, update in cache.updates().items()} == before


# --- broken storages and hostile contents -------------------------------------------------------------------


def test_a_broken_log_is_a_page_that_says_so(logged):
    pages = open_pages(logged)
    for commit in (logged.event_log_path / "_delta_log").glob("*.json"):
        commit.write_text("no json")
    os.utime(logged.event_log_path / "_delta_log", ns=(1, 1))
    for path in ("/", f"/updates/{NEW}", "/events"):
        response = pages.get(path)
        assert response.status_code == 503 and "This cannot be shown" in response.text
        assert "Traceback" not in response.text and str(logged.event_log_path) in unescape(response.text)


def test_a_file_of_the_log_that_is_missing_is_named(logged):
    for part in logged.event_log_path.glob("*.parquet"):
        part.unlink()
    response = open_pages(logged).get("/")
    assert response.status_code == 503 and ".parquet" in response.text


def test_what_nobody_expected_is_a_page_too(logged, monkeypatch):
    def fail(self):
        raise RuntimeError("<script>of ours</script>")

    monkeypatch.setattr(EventCache, "updates", fail)
    response = open_pages(logged).get("/")
    assert response.status_code == 500 and "&lt;script&gt;of ours" in response.text


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"


def test_hostile_names_are_shown_as_text(storage):
    hostile_rule = {"dataset": HOSTILE, "name": HOSTILE, "passed_records": 1, "failed_records": 1}
    declared = definition(
        HOSTILE,
        [HOSTILE + "source"],
        HOSTILE,
        comment=HOSTILE,
        file=HOSTILE,
        text=HOSTILE,
        properties={HOSTILE: HOSTILE},
        auto_cdc={"keys": [HOSTILE], "sequence_by": HOSTILE, "stored_as_scd_type": HOSTILE},
        expectations=[{"name": HOSTILE, "constraint": HOSTILE, "action": HOSTILE}],
        views={HOSTILE + "view": {"kind": HOSTILE, "input_datasets": [HOSTILE]}},
    )
    declared["flow_definition"]["schema"] = [{"name": HOSTILE, "data_type": HOSTILE}]
    with EventLog(storage.event_log_path, HOSTILE, HOSTILE) as log:
        record_begin(log)
        done = progress(HOSTILE, 1, 1, [hostile_rule])
        record_flow(log, HOSTILE, declared, done)
        log.record(HOSTILE, HOSTILE, "ERROR", HOSTILE, HOSTILE, {}, HOSTILE)
        record_state(log, HOSTILE)
    pages = open_pages(storage)
    [address] = set(re.findall(r'href="(/updates/[^"/]*)"', pages.get("/").text))
    shown = [pages.get("/").text, pages.get("/events").text, pages.get(address).text]
    shown += [pages.get(unescape(link)).text for link in set(re.findall(r'href="(/dataset[^"]*)"', shown[2]))]
    assert len(shown) >= 5
    for page in shown:
        assert "<script>alert" not in page and "<img" not in page and ">49<" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_every_page_answers_hostile_addresses(pages):
    for path in PAGES:
        filled = re.sub(r"\{[\w:]+\}", "%3Cscript%3E%27%22", path)
        if not path.startswith("/live"):
            response = pages.get(filled + "?from=-1&level=%3Cscript%3E&column=%00&limit=99999999999999999999")
            assert response.status_code < 500 or "cannot be shown" in response.text, path
            assert "<script>'" not in response.text


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "NULL"),
        ("a" * 200, "a" * 200),
        ("a" * 1_000_000, "a" * 200 + "… (1,000,000 characters)"),
        (b"\x00\xff", "00 ff (2 bytes)"),
        (b"\x00" * 30, " ".join(["00"] * 24) + " … (30 bytes)"),
    ],
)
def test_cells_are_short(value, text):
    assert format_short_cell(value) == text


def test_durations_are_words():
    assert [format_seconds(each) for each in (None, 0.123, 12.34, 119.6, 7_800)] == [
        "",
        "0.12 s",
        "12.3 s",
        "2 min 0 s",
        "2 h 10 min",
    ]


def test_a_log_begun_anew_forgets_the_old_one(logged, tmp_path):
    cache = EventCache(logged)
    assert len(cache.updates()) == 2
    logged.event_log_path.rename(tmp_path / "old")
    assert cache.updates() == {}


def test_a_file_that_vanished_is_an_error_of_the_storage(logged):
    for part in logged.event_log_path.glob("*.parquet"):
        part.write_bytes(b"no parquet")
    with pytest.raises(PipelineError):
        EventCache(logged).updates()
