"Mended rows, read strictly; which of them land, where, and as what: without an update."

import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.delta.rows import format_json
from cdc_local.errors import UsageError
from cdc_local.operations.replay import (
    MendedRow,
    check_format,
    choose_folder,
    columns_to_land,
    find_origin_folders,
    name_landed_file,
    parse_row,
    plan_landing,
    read_landed_lines,
    read_mended,
    replay_rows,
    row_identity,
)
from cdc_local.storage import Storage, TableName
from cdc_local.update.event_log import read_events

QUARANTINE = TableName("main", "default", "customers_cdc_quarantine")


@pytest.fixture
def mended(tmp_path):
    return tmp_path / "mended.json"


@pytest.fixture
def landing(storage):
    "A folder of the volume, in which one file arrived."
    folder = storage.root / "Volumes/main/default/raw data"
    folder.mkdir(parents=True)
    (folder / "day-1.json").touch()
    return folder


@pytest.fixture
def quarantine(storage, landing):
    "Three rows that are set aside, of the file that arrived."
    rows = [
        ("7", "Bern", "UPSERT", "2026-01-01 11:00:00", ["valid_operation"]),
        ("8", "Oslo", "UPDATE", None, ["valid_operation_date"]),
        (None, "Rome", "APPEND", "2026-01-01 13:00:00", ["valid_id"]),
    ]
    columns = ("id", "city", "operation", "operation_date", "failed_rules")
    table = pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))
    table = table.append_column("source_file", pa.array([(landing / "day-1.json").as_uri()] * 3))
    table = table.append_column("_rescued_data", pa.array([None] * 3, pa.string()))
    write_deltalake(str(storage.table_path(QUARANTINE)), table)
    return storage


# --- what a person mended -----------------------------------------------------------------------------------


def test_nothing_is_lost_on_the_way_through_a_mended_file(mended):
    mended.write_text('{"id": "7", "price": 1.10, "city": null}\n\n{"id": "8"}\n')
    rows = read_mended(mended)
    assert [(row.line, row.values) for row in rows] == [
        (1, {"id": "7", "price": Decimal("1.10"), "city": None}),
        (3, {"id": "8"}),
    ]
    assert format_json(rows[0].values) == '{"id": "7", "price": 1.10, "city": null}'


def test_all_lines_that_an_editor_spoilt_are_named_at_once(mended):
    mended.write_text('{"id": "7",}\n["8"]\n{"id": "9", "id": "10"}\n{"n": NaN}\n{"id": "11"}\n')
    with pytest.raises(UsageError) as refused:
        read_mended(mended)
    assert str(refused.value).replace(f"{mended}", "mended.json").splitlines() == [
        "mended.json is not JSON lines, one row a line",
        "  mended.json:1: Expecting property name enclosed in double quotes at column 12",
        "  mended.json:2: it is not an object {…}",
        "  mended.json:3: id is given twice",
        "  mended.json:4: NaN is not JSON",
    ]
    mended.write_text("no\n" * 12)
    with pytest.raises(UsageError, match=r"mended.json:10: .*\n  and 2 more$"):
        read_mended(mended)


def test_a_file_without_rows_and_one_that_is_not_there_are_refused(mended):
    mended.write_text("\n")
    with pytest.raises(UsageError, match="holds no row"):
        read_mended(mended)
    mended.unlink()
    with pytest.raises(UsageError, match="No such file"):
        read_mended(mended)


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"id": "9", "id": "10"}', "id is given twice"),
        ('{"n": -Infinity}', "-Infinity is not JSON"),
        ("7", "it is not an object"),
    ],
)
def test_what_is_no_json_object_is_refused(line, message):
    with pytest.raises(ValueError, match=message):
        parse_row(line)


# --- which columns and rows land ----------------------------------------------------------------------------


def test_columns_that_the_pipeline_added_do_not_land():
    record = ["id", "city", "operation", "operation_date"]
    columns = [*record, "_rescued_data", "_corrupt_record", "source_file", "failed_rules"]
    assert columns_to_land(QUARANTINE, columns) == record
    assert columns_to_land(QUARANTINE, columns, ["city"]) == ["id", "operation", "operation_date"]
    with pytest.raises(UsageError) as refused:
        columns_to_land(QUARANTINE, columns, ["citty"])
    assert str(refused.value) == f"--drop: {QUARANTINE} has no column 'citty'; did you mean 'city'?"
    with pytest.raises(UsageError, match="no column left to land"):
        columns_to_land(QUARANTINE, columns, record)


def test_a_row_is_the_same_without_why_it_was_set_aside():
    mended = {"id": "7", "city": None, "failed_rules": ["valid_id"]}
    assert row_identity(mended) == row_identity({"id": "7"})
    assert row_identity({"id": "7", "_rescued_data": "{}"}) != row_identity({"id": "7"})


def test_numbers_keep_their_digits_so_an_untouched_row_is_known(tmp_path):
    storage, name = Storage(tmp_path / "cdc").create(), TableName("main", "default", "orders_quarantine")
    (tmp_path / "raw").mkdir()
    rows = pa.table(
        {
            "price": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
            "source_file": [(tmp_path / "raw/a.json").as_uri()],
        }
    )
    write_deltalake(str(storage.table_path(name)), rows)
    mended = tmp_path / "mended.json"
    mended.write_text("\n".join(read_rows(storage, name).json_lines()))
    with pytest.raises(UsageError, match="1 of 1 rows are as they are in quarantine"):
        replay_rows(storage, name, [mended])
    for options in (
        {"force": True},
        {"force": True, "skip_unchanged": True},
    ):  # a rule was mended: all of them land
        assert (
            replay_rows(storage, name, [mended], dry_run=True, **options).landings[0].content
            == b'{"price": 1.10}\n'
        )


@pytest.mark.parametrize(
    "files, fits",
    [
        ([], True),
        (["a.json"], True),
        (["a.json.gz"], True),
        (["a.jsonl", "b.csv"], True),
        ([".a.csv.crc", "_log.csv", "README"], True),
        (["a.csv"], False),
        (["a.snappy.parquet"], False),
    ],
)
def test_json_lines_land_where_json_is_read(tmp_path, files, fits):
    for name in files:
        (tmp_path / name).touch()
    if fits:
        check_format(tmp_path, QUARANTINE)
    else:
        with pytest.raises(UsageError, match=f"holds {''.join(Path(files[0]).suffixes)} files"):
            check_format(tmp_path, QUARANTINE)


def test_what_an_earlier_replay_landed_is_known_whatever_is_in_it(tmp_path):
    line = '{"note": "one\u2028two"}'  # a line separator for Python, none for JSON lines
    (tmp_path / "orders-replay-0.json").write_text(line + "\n", encoding="utf-8")
    for name in ("orders.json", ".orders-replay-1.json", "_orders-replay-1.json"):
        (tmp_path / name).write_text("{}\n")
    assert read_landed_lines(tmp_path) == {line}


def test_a_row_in_two_mended_files_lands_once(tmp_path):
    landed, rows = set(), [MendedRow("a.json", 1, {"id": "7"}), MendedRow("a.json", 2, {"id": "8"})]

    def planned(rows):
        return plan_landing(rows, ["id"], tmp_path, "orders.json", {}, landed, False)

    assert [(each.rows, each.landed_before) for each in map(planned, (rows[:1], rows, rows))] == [
        (1, 0),
        (1, 1),
        (0, 2),
    ]


# --- where they land ----------------------------------------------------------------------------------------


def test_rows_land_in_the_folder_that_they_came_from(storage, landing):
    rows = [
        {"id": "7", "source_file": (landing / "day-1.json").as_uri()},
        {"id": "8", "source_file": "/Volumes/main/default/raw data/day-2.json"},
        {"id": "9"},
    ]
    origins = find_origin_folders(storage, rows)
    assert origins == {landing.resolve(): "day-1.json"}
    assert choose_folder(storage, QUARANTINE, origins, None) == landing.resolve()
    assert choose_folder(storage, QUARANTINE, {}, "/Volumes/main/default/raw data") == landing.resolve()


@pytest.mark.parametrize(
    "folders, to, message",
    [
        (["raw data", "more"], None, "the rows came from 2 folders"),
        ([], None, f"no row of {QUARANTINE} names its source_file; --to DIR"),
        (["raw data"], "/Volumes/main/default/rawdata", "there is no folder"),
        (["raw data"], "{elsewhere}", "is no folder of this storage"),
        (["raw data"], "/Volumes/../../x", "leaves the storage folder"),
    ],
)
def test_a_folder_that_nobody_would_read_is_refused(storage, landing, tmp_path, folders, to, message):
    origins = {(landing.parent / folder).resolve(): "day-1.json" for folder in folders}
    with pytest.raises(UsageError, match=message):
        choose_folder(storage, QUARANTINE, origins, to and to.format(elsewhere=tmp_path))


def test_a_file_is_named_by_its_content():
    name = name_landed_file("orders-1.json", b'{"id": "7"}\n')
    assert name == "orders-1-replay-2e2d37e1789007cc.json"
    assert name_landed_file(name, b"{}\n") == name_landed_file("orders-1.json", b"{}\n") != name


# --- a replay -----------------------------------------------------------------------------------------------


def test_rows_that_nobody_touched_are_refused_with_the_rules_they_broke(quarantine, mended):
    mended.write_text("\n".join(read_rows(quarantine, QUARANTINE).json_lines()))
    with pytest.raises(UsageError) as refused:
        replay_rows(quarantine, QUARANTINE, [mended])
    first, *rows, last = str(refused.value).replace(str(mended), "mended.json").splitlines()
    assert first == "3 of 3 rows are as they are in quarantine, and would only be set aside again"
    assert sorted(row.split(": ")[1] for row in rows) == [
        "valid_id",
        "valid_operation",
        "valid_operation_date",
    ]
    assert last.startswith("mend them; --skip-unchanged leaves them out; --force lands them all the same")


def mend(storage, path):
    "Mend two of the rows, and leave the third as it is."
    text = "\n".join(sorted(read_rows(storage, QUARANTINE).json_lines(), reverse=True))
    text = text.replace("UPSERT", "UPDATE")
    text = text.replace('"operation_date": null', '"operation_date": "2026-01-01 12:00:00"')
    path.write_text(text)
    return text


def test_mended_rows_land_as_one_file_and_are_recorded(quarantine, landing, mended):
    mend(quarantine, mended)
    with pytest.raises(UsageError, match="1 of 3 rows are as they are in quarantine"):
        replay_rows(quarantine, QUARANTINE, [mended])
    planned = replay_rows(quarantine, QUARANTINE, [mended], skip_unchanged=True, dry_run=True)
    assert [path.name for path in landing.iterdir()] == ["day-1.json"]
    done = replay_rows(quarantine, QUARANTINE, [mended], skip_unchanged=True)
    assert (done, done.landings[0].rows, done.landings[0].unchanged) == (planned, 2, 1)
    events = read_events(quarantine.event_log_path)
    assert [json.loads(event["details"])["user_action"]["rows"] for event in events] == [2]
    landed = [json.loads(line) for line in done.landings[0].path.read_text().splitlines()]
    assert sorted(landed, key=lambda row: row["id"]) == [
        {"id": "7", "city": "Bern", "operation": "UPDATE", "operation_date": "2026-01-01 11:00:00"},
        {"id": "8", "city": "Oslo", "operation": "UPDATE", "operation_date": "2026-01-01 12:00:00"},
    ]


def test_replayed_again_only_what_is_new_lands(quarantine, landing, mended):
    text = mend(quarantine, mended)
    replay_rows(quarantine, QUARANTINE, [mended], skip_unchanged=True)
    [again] = replay_rows(quarantine, QUARANTINE, [mended], skip_unchanged=True).landings
    assert (again.rows, again.landed_before, again.path) == (0, 2, None)
    mended.write_text(text.replace('"id": null', '"id": "9"'))
    [more] = replay_rows(quarantine, QUARANTINE, [mended]).landings
    assert (more.rows, more.landed_before) == (1, 2)
    assert len(list(landing.glob("*-replay-*.json"))) == 2


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"id": "7", "ctiy": "Bern"}', "mended.json:1: .* has no column 'ctiy'; did you mean 'city'"),
        ('{"id": null, "_rescued_data": "{}"}', "mended.json:1 has no value in id, city"),
    ],
)
def test_wrong_rows_are_refused_before_anything_lands(quarantine, landing, mended, line, message):
    mended.write_text(line + "\n")
    with pytest.raises(UsageError, match=message):
        replay_rows(quarantine, QUARANTINE, [mended])
    assert not list(landing.glob("*-replay-*.json"))


def test_an_unknown_table_and_a_folder_of_csv_files_are_refused(quarantine, landing, mended):
    mended.write_text('{"id": "7", "city": "Basel"}\n')
    wrong = TableName("main", "default", "customers_cdc_quarantin")
    with pytest.raises(UsageError, match=f"did you mean {QUARANTINE}"):
        replay_rows(quarantine, wrong, [mended])
    (landing / "day-1.json").rename(landing / "day-1.csv")
    with pytest.raises(UsageError, match="holds .csv files, and a replay lands JSON lines"):
        replay_rows(quarantine, QUARANTINE, [mended])
