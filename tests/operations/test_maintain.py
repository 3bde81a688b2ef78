"`cdc maintain`: which tables, how long, what is refused, what the event log and the next update know of it."

import pytest
from deltalake import DeltaTable
from growing_tables import age, commit, create, rows, stored

from cdc_local.delta.log import read_table_version
from cdc_local.errors import UsageError
from cdc_local.operations.maintain import maintain_storage
from cdc_local.storage import TableName, lock_storage
from cdc_local.update.event_log import EventLog, read_events


def name(table):
    return TableName("main", "default", table)


@pytest.fixture
def grown(storage):
    "A storage with two tables of 50 commits and an event log."
    for table in ("here", "there"):
        path = create(storage.table_path(name(table)))
        for number in range(50):
            commit(path, rows(number), number)
        age(path, 60)
    with EventLog(storage.event_log_path, "p", "u") as log:
        log.record("create_update", "Update u started.")
    return storage


def files(storage, table):
    return len(DeltaTable(str(storage.table_path(name(table)))).file_uris())


def test_all_tables_and_the_event_log_are_maintained_and_it_is_an_event(grown):
    before = stored(grown.table_path(name("here")))
    done = maintain_storage(grown)
    assert [table.table for table in done] == ["main.default.here", "main.default.there", "event_log"]
    assert [table.is_idle for table in done] == [False, False, True]
    assert done[0].after.files < done[0].plan.usage.files
    assert files(grown, "here") == files(grown, "there") == 1
    assert stored(grown.table_path(name("here"))) == before
    told = [
        event for event in read_events(grown.event_log_path) if event["event_type"] == "maintenance_progress"
    ]
    assert [event["message"].split()[0] for event in told] == ["main.default.here", "main.default.there"]
    assert all(table.is_idle for table in maintain_storage(grown))


def test_a_table_that_is_named_is_maintained_alone(grown):
    [done] = maintain_storage(grown, [name("there")])
    assert (done.table, files(grown, "here"), files(grown, "there")) == ("main.default.there", 50, 1)


def test_a_dry_run_writes_nothing(grown):
    before = {file: file.stat().st_mtime_ns for file in (grown.root / "tables").rglob("*")}
    done = maintain_storage(grown, dry_run=True)
    assert done[0].plan.rewrite.files == 50 and done[0].after is None
    assert {file: file.stat().st_mtime_ns for file in (grown.root / "tables").rglob("*")} == before


def test_versions_of_the_hours_that_are_given_stay(grown):
    path = grown.table_path(name("here"))
    before = {version: stored(path, version) for version in range(51)}
    maintain_storage(grown, [name("here")], retain_hours=1)
    assert {version: stored(path, version) for version in range(51)} == before
    age(path, 60)
    maintain_storage(grown, [name("here")], retain_hours=0)
    assert len(list(path.glob("*.parquet"))) == 1


def test_a_flow_that_has_yet_to_read_keeps_what_it_needs(grown):
    path = grown.table_path(name("here"))
    identity, _ = read_table_version(path)
    offsets = grown.flow_path(name("there"), "follows") / "checkpoint" / "offsets"
    offsets.mkdir(parents=True)
    for batch, version in enumerate((3, 9, 12)):
        offset = f'{{"reservoirId": "{identity}", "reservoirVersion": {version}, "index": -1}}'
        (offsets / str(batch)).write_text(f'v1\n{{}}\n{offset}\n{{"logOffset": 7}}\n-')
    before = {version: stored(path, version) for version in range(8, 51)}
    for _ in range(2):
        done = maintain_storage(grown, retain_hours=0)
        age(path, 60)
    assert done[0].plan.flow == "follows"
    assert {version: stored(path, version) for version in before} == before


def test_what_is_wrong_is_refused(grown):
    with pytest.raises(
        UsageError, match=r"no table main.default.nowhere in .*there is main.default.here, main"
    ):
        maintain_storage(grown, [name("nowhere")])
    with pytest.raises(UsageError, match="--retain is -1"):
        maintain_storage(grown, retain_hours=-1)
    with lock_storage(grown), pytest.raises(UsageError, match="in use by another update"):
        maintain_storage(grown)
    assert files(grown, "here") == 50
