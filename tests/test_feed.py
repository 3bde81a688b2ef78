"""The feed, read back from its files by code that knows nothing of how it was made."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from cdc_utils import feed
from cdc_utils.feed import FeedError, FeedSummary, days, missing_day, write_feed

FIELDS = ("firstname", "lastname", "email", "address")
OPERATIONS = ("APPEND", "UPDATE", "DELETE")


def moment(text):
    "The time of an event, None for what is none."
    if not isinstance(text, str) or len(text) != 24:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        return None


def fault(line):
    "What is wrong with a line, as FeedSummary counts it; None for a good one."
    try:
        row = json.loads(line)
    except ValueError:
        return "corrupt"
    if not (row.get("id") or "").strip():
        return "missing_ids"
    if row["operation"] not in OPERATIONS:
        return "unknown_operations"
    return "mistyped" if moment(row["operation_date"]) is None else None


def read(folder):
    "The lines of each file, in the order of the names."
    return {
        path.name: path.read_text(encoding="utf-8").splitlines()
        for path in sorted(Path(folder).glob("customers-*.json"))
    }


def replay(files):
    """Walk through the files of some days and count, per day of the files, what FeedSummary counts.

    What the last day did is not followed: a few of its events lie in the files of a day that is not there."""
    counts, seen, newest = {}, set(), {}
    for name, lines in files.items():  # how each line was written
        day = name.split("-")[1]
        count = counts.setdefault(int(day), Counter())
        count["files"] += 1
        before = max((when for other, when in newest.items() if other < name), default=datetime.min)
        for line in lines:
            count["rows"] += 1
            wrong = fault(line)
            if wrong:
                count[wrong] += 1
            elif line in seen:
                count["duplicates"] += 1
            else:
                seen.add(line)
                when = moment(json.loads(line)["operation_date"])
                count["late"] += when < before
                newest[name] = max(newest.get(name, when), when)
                count[json.loads(line)["id"], when] = int(day)  # which day wrote it
    written_on = {
        key: day for count in counts.values() for key, day in count.items() if isinstance(key, tuple)
    }
    live, gone, last = {}, {}, f"2026-01-{max(counts):02d}"
    for row in sorted(map(json.loads, seen), key=lambda row: row["operation_date"]):  # what each event did
        if row["operation_date"] >= last:
            break
        customer, values = row["id"], [row[name] for name in FIELDS]
        count = counts[written_on[customer, moment(row["operation_date"])]]
        if row["operation"] == "APPEND":
            assert customer not in live and None not in values
            count["reinserts" if customer in gone else "inserts"] += 1
            live[customer] = values
            gone.pop(customer, None)
        elif row["operation"] == "UPDATE":
            assert 1 <= sum(old != new for old, new in zip(live[customer], values, strict=True)) <= 2
            live[customer] = values
            count["updates"] += 1
        else:
            assert values == [None] * 4
            gone[customer] = live.pop(customer)
            count["deletes"] += 1
    return {
        day: {key: value for key, value in count.items() if isinstance(key, str)}
        for day, count in counts.items()
    }


def without_zeros(summary):
    return {name: value for name, value in asdict(summary).items() if value and name != "day"}


def nonzero(counts):
    return {name: value for name, value in counts.items() if value}


@pytest.mark.parametrize(
    "rows,keys,files", [(5_000, None, 10), (5_000, 40, 3), (400, 400, 7), (3_000, None, 1), (60, 1, 60)]
)
def test_files_hold_what_the_summary_says(tmp_path, rows, keys, files):
    said = {}
    for day in (1, 2, 3, 4):
        said[day] = write_feed(tmp_path, rows=rows, keys=keys, files=files, day=day)
    found = replay(read(tmp_path))
    for day in (1, 2, 3):
        assert nonzero(found[day]) == without_zeros(said[day]), f"day {day}"
        assert said[day].rows == rows


def test_id_and_time_are_unique_but_for_copies(tmp_path):
    for day in (1, 2):
        write_feed(tmp_path, rows=5_000, day=day)
    good = [line for lines in read(tmp_path).values() for line in lines if fault(line) is None]
    keys = Counter((json.loads(line)["id"], json.loads(line)["operation_date"]) for line in set(good))
    assert max(keys.values()) == 1
    assert len(good) - len(set(good)) == 100


def test_shares_are_lifelike(tmp_path):
    summary = write_feed(tmp_path, rows=20_000)
    assert (summary.missing_ids, summary.unknown_operations, summary.duplicates) == (400, 100, 200)
    assert 1 <= summary.corrupt <= 10 and 1 <= summary.mistyped <= 10
    assert summary.deletes > 1000 and summary.reinserts > 300 and summary.updates > summary.inserts > 4_900
    assert 150 <= summary.late <= 300


def test_lines_of_a_day_are_out_of_order_within_a_file_too(tmp_path):
    write_feed(tmp_path, rows=5_000)
    slipped = 0
    for lines in read(tmp_path).values():
        times = [moment(json.loads(line)["operation_date"]) for line in lines if fault(line) is None]
        slipped += sum(
            timedelta(0) < before - after < timedelta(minutes=10) for before, after in pairwise(times)
        )
    assert 100 < slipped < 500, "about one line in 20 is a few lines late"


def test_inserts_come_first(tmp_path):
    write_feed(tmp_path, rows=2_000, keys=200)
    good = {line for lines in read(tmp_path).values() for line in lines if fault(line) is None}
    rows = sorted(map(json.loads, good), key=lambda row: row["operation_date"])
    assert {row["operation"] for row in rows[:195]} == {"APPEND"}


def test_day_2_continues_day_1(tmp_path):
    write_feed(tmp_path, rows=2_000)
    write_feed(tmp_path, rows=2_000, day=2)
    files = read(tmp_path)

    def good(day):
        lines = [
            line for name, lines in files.items() if name.startswith(f"customers-{day:04d}") for line in lines
        ]
        return [json.loads(line) for line in lines if not fault(line)]

    first, second = good(1), good(2)
    assert {row["operation_date"][:10] for row in first} == {"2026-01-01"}
    assert Counter(row["operation_date"][:10] for row in second)["2026-01-01"] == 10
    known = {row["id"] for row in first}
    updated = [row["id"] in known for row in second if row["operation"] == "UPDATE"]
    assert sum(updated) > 0.8 * len(updated)
    assert sum(row["id"] not in known for row in second if row["operation"] == "APPEND") >= 40


def test_nothing_is_kept_on_disk_between_days(tmp_path):
    for day in (1, 2, 3):
        write_feed(tmp_path / "all", rows=500, day=day)
    write_feed(tmp_path / "third", rows=500, day=3)
    whole, alone = read(tmp_path / "all"), read(tmp_path / "third")
    assert alone and alone == {name: whole[name] for name in alone}


PROGRAM = """
import sys
from cdc_utils.feed import write_feed
for day in (1, 2): write_feed(sys.argv[1], rows=3_000, files=3, day=day)
assert 'pyspark' not in sys.modules
"""


def digest(folder):
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def test_same_bytes_in_other_processes(tmp_path):
    for hash_seed in ("0", "1", "77"):
        subprocess.run(
            [sys.executable, "-c", PROGRAM, tmp_path / hash_seed],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": "Pacific/Auckland", "LC_ALL": "C"},
        )
    for day in (1, 2):
        write_feed(tmp_path / "here", rows=3_000, files=3, day=day)
    assert len({digest(tmp_path / name) for name in ("0", "1", "77", "here")}) == 1


def test_another_seed_is_another_feed(tmp_path):
    write_feed(tmp_path / "a", rows=100, files=1, seed=1)
    write_feed(tmp_path / "b", rows=100, files=1, seed=2)
    first, second = (read(tmp_path / name)["customers-0001-00.json"] for name in "ab")
    assert not set(first) & set(second)


def test_any_small_size(tmp_path):
    for rows in (1, 2, 3, 19, 20, 21, 50):
        for files in {1, 2, rows} - ({2} if rows == 1 else set()):
            for keys in {1, rows // 2 or 1, rows}:
                folder = tmp_path / f"{rows}-{files}-{keys}"
                for day in (1, 2, 3):
                    summary = write_feed(folder, rows=rows, keys=keys, files=files, day=day)
                    assert summary.rows == rows
                    assert (summary.corrupt >= 1) == (rows >= 20)
                found = read(folder)
                assert len(found) == 3 * files and min(map(len, found.values())) >= 1
                times = [
                    json.loads(line)["operation_date"]
                    for lines in found.values()
                    for line in lines
                    if rows < 20
                ]
                assert times == sorted(times), "a toy is in order"
                replay(found)


def test_a_write_cut_short_does_not_count_and_can_be_repeated(tmp_path, monkeypatch):
    write_feed(tmp_path / "whole", rows=500, files=5)
    replace, calls = os.replace, []

    def breaks(source, target):
        calls.append((Path(source).name, Path(target).name))
        if len(calls) == 4:
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", breaks)
    with pytest.raises(OSError, match="disk full"):
        write_feed(tmp_path / "cut", rows=500, files=5)
    monkeypatch.undo()
    assert all(source.startswith((".", "_")) for source, _ in calls), "readers must skip what is not finished"
    assert len(list((tmp_path / "cut").iterdir())) == 3, "three files are whole, and nothing else is left"
    assert (days(tmp_path / "cut"), missing_day(tmp_path / "cut")) == ([], 1)
    write_feed(tmp_path / "cut", rows=500, files=5)
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")
    assert missing_day(tmp_path / "cut") == 2


def test_files_appear_whole(tmp_path, monkeypatch):
    def watching(source, target):
        assert not Path(target).exists()
        assert Path(source).read_bytes().count(b"\n") == 50
        replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", watching)
    opened = []
    write_bytes = Path.write_bytes

    def noting(self, content):
        opened.append(self.name)
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", noting)
    write_feed(tmp_path, rows=100, files=2)
    assert opened and all(name.startswith(".") for name in opened)


@pytest.mark.parametrize("other", [{"seed": 7}, {"rows": 600}, {"keys": 9}, {"files": 4}, {"files": 6}])
def test_existing_files_are_never_changed(tmp_path, other):
    asked = {"rows": 500, "files": 5}
    write_feed(tmp_path, **asked)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    with pytest.raises(FeedError, match="exists and holds something else than this day 1"):
        write_feed(tmp_path, **asked | other)
    if "files" not in other:
        with pytest.raises(FeedError, match="is the day 1 of another feed"):
            write_feed(tmp_path, **asked | other, day=2)
    write_feed(tmp_path, **asked)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_a_file_too_many_is_refused(tmp_path):
    write_feed(tmp_path, rows=500, files=5)
    (tmp_path / "customers-0001-05.json").write_text("from elsewhere\n")
    with pytest.raises(FeedError, match="customers-0001-05.json exists"):
        write_feed(tmp_path, rows=500, files=5)


def test_the_first_missing_day_is_next(tmp_path):
    for day in (1, 3):
        write_feed(tmp_path, rows=50, files=2, day=day)
    assert (days(tmp_path), missing_day(tmp_path)) == ([1, 3], 2)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "customers.json").write_text("mine")
    (tmp_path / "customers-0001-00.json.bak").write_text("mine")
    write_feed(tmp_path, rows=50, files=1)
    assert (
        (tmp_path / "customers.json").read_text()
        == (tmp_path / "customers-0001-00.json.bak").read_text()
        == "mine"
    )
    assert days(tmp_path) == [1]


@pytest.mark.parametrize(
    "wrong,message",
    [
        ({"rows": 0}, "rows is 0; give 1 or more"),
        ({"rows": -5}, "rows is -5"),
        ({"rows": 1.5}, "rows is 1.5; give a whole number"),
        ({"rows": True}, "rows is True"),
        ({"rows": 10_000_001}, "rows is 10,000,001; give at most 10,000,000"),
        ({"files": 0}, "files is 0"),
        ({"rows": 5, "files": 6}, "files is 6; give at most 5, one row a file"),
        ({"keys": 0}, "keys is 0"),
        ({"rows": 50, "keys": 51}, "keys is 51; give at most 50"),
        ({"keys": "9"}, "keys is '9'"),
        ({"day": 0}, "day is 0"),
        ({"day": 10_000}, "day is 10,000; give at most 9,999"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seed": None}, "seed is None"),
    ],
)
def test_wrong_use_is_named_and_writes_nothing(tmp_path, wrong, message):
    with pytest.raises(FeedError) as error:
        write_feed(tmp_path / "new", **wrong)
    assert message in str(error.value)
    assert isinstance(error.value, ValueError) and not (tmp_path / "new").exists()


def test_faker_is_asked_for_only_when_needed(tmp_path):
    program = (
        "import sys; sys.modules['faker'] = None; from cdc_utils import feed\n"
        "assert feed.missing_day('none') == 1\n"
        "try: feed.write_feed(sys.argv[1])\nexcept feed.FeedError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "new"], capture_output=True, text=True, check=True
    )
    assert "faker" in done.stdout and "pip install faker" in done.stdout
    assert not (tmp_path / "new").exists()


def test_summary_shows_as_a_table():
    html = FeedSummary(rows=20_000, late=3)._repr_html_()
    assert "<th>rows</th><td>20,000</td>" in html and "<th>late</th><td>3</td>" in html


def test_100_000_rows_take_seconds():
    start = time.process_time()
    _, summary = feed.feed_day(100_000)
    assert summary.rows == 100_000
    assert time.process_time() - start < 15
