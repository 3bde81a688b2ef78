"What an update reads of a flow's sources: each row once, whatever happens between two updates."

import json
import shutil

import pytest
from deltalake import DeltaTable

from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName
from cdc_local.update.progress import Progress
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

LANDED = """
from pyspark import pipelines as dp

@dp.table
def landed():
    reader = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return reader.schema('id int').load({path!r})
"""
COPIED = """
from pyspark import pipelines as dp

@dp.table
def copied():
    return spark.readStream.table('landed')
"""
VOLUME = "/Volumes/main/default/raw/ids"


class Pipeline:
    "Source files, a storage and what landed."

    def __init__(self, folder):
        self.folder, self.storage = folder, Storage(folder / "storage")
        self.sources = folder / "transformations"
        self.sources.mkdir()

    def write(self, **files):
        for name, text in files.items():
            (self.sources / f"{name}.py").write_text(text)
        return self

    def land(self, name, *ids, folder=None):
        folder = folder or self.storage.root / VOLUME.lstrip("/")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(json.dumps({"id": number}) + "\n" for number in ids))
        return folder / name

    def run(self, **options):
        return run_update(UpdateRequest((str(self.sources),), self.storage.root, **options))

    def update(self, **options):
        result = self.run(**options)
        assert result.state == "COMPLETED", result.error
        return self

    def error(self):
        result = self.run()
        assert result.state == "FAILED"
        return result.error

    def ids(self, table):
        return sorted(
            row["id"] for row in read_table(self.storage, TableName("main", "default", table)).to_pylist()
        )

    def progress(self, table):
        folder = self.storage.root / f"checkpoints/main/default/{table}/main.default.{table}"
        return Progress.read(folder / "progress.jsonl", "")

    def table(self, name):
        return self.storage.root / "tables/main/default" / name


@pytest.fixture
def pipeline(tmp_path, spark):
    pipeline = Pipeline(tmp_path)
    pipeline.write(landed=LANDED.format(path=VOLUME), copied=COPIED)
    pipeline.land("1.json", 1, 2)
    return pipeline


def test_each_update_reads_what_is_new_and_nothing_where_nothing_is(pipeline):
    pipeline.update()
    assert (pipeline.ids("landed"), pipeline.ids("copied")) == ([1, 2], [1, 2])
    version = DeltaTable(str(pipeline.table("copied"))).version()
    pipeline.update()
    assert DeltaTable(str(pipeline.table("copied"))).version() == version
    pipeline.land("2.json", 3)
    pipeline.update()
    assert pipeline.ids("copied") == [1, 2, 3]
    [position] = pipeline.progress("copied").positions.values()
    assert position["next"] == DeltaTable(str(pipeline.table("landed"))).version() + 1


def test_a_storage_that_is_moved_goes_on(pipeline):
    pipeline.update()
    moved = pipeline.folder / "elsewhere"
    shutil.move(pipeline.storage.root, moved)
    pipeline.storage = Storage(moved)
    pipeline.land("2.json", 3)
    pipeline.update()
    assert (pipeline.ids("landed"), pipeline.ids("copied")) == ([1, 2, 3], [1, 2, 3])


def test_a_source_outside_the_storage_that_is_moved_is_recognised(pipeline):
    before, after = pipeline.folder / "before", pipeline.folder / "after"
    pipeline.write(landed=LANDED.format(path=str(before)))
    pipeline.land("1.json", 1, 2, folder=before)
    pipeline.update()
    before.rename(after)
    pipeline.write(landed=LANDED.format(path=str(after))).land("2.json", 3, folder=after)
    result = pipeline.run()
    assert pipeline.ids("copied") == [1, 2, 3]
    assert any("is what" in warning and str(before) in warning for warning in result.warnings)


def test_a_folder_with_some_of_the_files_that_were_read_is_refused(pipeline):
    before, after = pipeline.folder / "before", pipeline.folder / "after"
    pipeline.write(landed=LANDED.format(path=str(before)))
    for number in (1, 2):
        pipeline.land(f"{number}.json", number, folder=before)
    pipeline.update()
    after.mkdir()
    shutil.copy2(before / "1.json", after)
    pipeline.write(landed=LANDED.format(path=str(after)))
    assert "which files are new cannot be told" in pipeline.error()
    assert pipeline.ids("landed") == [1, 2]


def test_another_folder_is_read_beside_what_was_read(pipeline):
    other = pipeline.folder / "other"
    pipeline.update()
    pipeline.land("7.json", 7, folder=other)
    pipeline.write(landed=LANDED.format(path=str(other))).update()
    assert pipeline.ids("landed") == [1, 2, 7]


def test_a_filter_that_is_edited_reads_no_file_twice(pipeline):
    pipeline.update().land("2.jsonl", 3)
    filtered = LANDED.format(path=VOLUME).replace(
        "return reader", "return reader.option('pathGlobFilter', '*.json')"
    )
    pipeline.write(landed=filtered).update()
    assert pipeline.ids("landed") == [1, 2]
    pipeline.write(landed=LANDED.format(path=VOLUME)).update()
    assert pipeline.ids("landed") == [1, 2, 3]


def test_files_come_oldest_first_as_many_a_batch_as_are_asked(pipeline):
    for number in (3, 4, 5):
        pipeline.land(f"{number}.json", number)
    limited = LANDED.format(path=VOLUME).replace(
        "'json')", "'json').option('cloudFiles.maxFilesPerTrigger', 3)"
    )
    pipeline.write(landed=limited).update()
    assert pipeline.ids("landed") == [1, 2, 3, 4, 5]
    assert pipeline.progress("landed").batch == 1


def test_a_table_that_was_put_back_to_an_older_state_is_refused_with_what_mends_it(pipeline):
    pipeline.update()
    shutil.copytree(pipeline.table("copied"), pipeline.folder / "backup")
    pipeline.land("2.json", 3)
    pipeline.update()
    shutil.rmtree(pipeline.table("copied"))
    shutil.move(pipeline.folder / "backup", pipeline.table("copied"))
    assert "rows are missing" in (error := pipeline.error()) and "--full-refresh copied" in error
    pipeline.update(full_refresh=("copied",))
    assert pipeline.ids("copied") == [1, 2, 3]


def test_a_source_that_was_put_back_to_an_older_state_is_refused(pipeline):
    pipeline.update()
    shutil.copytree(pipeline.table("landed"), pipeline.folder / "backup")
    pipeline.land("2.json", 3)
    pipeline.update()
    shutil.rmtree(pipeline.table("landed"))
    shutil.move(pipeline.folder / "backup", pipeline.table("landed"))
    pipeline.write(landed="").land("3.json", 4)
    assert "put back to an older state" in pipeline.error()


def test_progress_that_was_deleted_is_refused_and_nothing_is_read_twice(pipeline):
    pipeline.update()
    pipeline.progress("copied").path.unlink()
    assert "and the file that says which is gone" in pipeline.error()
    assert pipeline.ids("copied") == [1, 2]


def dies(monkeypatch, method):
    "The process dies as it notes something."

    def die(*_):
        raise RuntimeError("killed here")

    monkeypatch.setattr(Progress, method, die)


def test_a_batch_that_was_written_and_not_noted_is_not_written_again(pipeline, monkeypatch):
    with monkeypatch.context() as patched:
        dies(patched, "finish")
        assert "killed here" in pipeline.error()
    assert pipeline.ids("landed") == [1, 2]
    pipeline.land("2.json", 3)
    pipeline.update()
    assert (pipeline.ids("landed"), pipeline.ids("copied")) == ([1, 2, 3], [1, 2, 3])


def test_a_planned_file_that_is_gone_before_it_was_read_stops_the_update(pipeline, monkeypatch):
    file = pipeline.folder / "storage" / VOLUME.lstrip("/") / "1.json"
    with monkeypatch.context() as patched:
        patched.setattr("cdc_local.update.append_flow.append_batch", lambda *_: 1 / 0)
        pipeline.error()
    file.rename(pipeline.folder / "1.json")
    assert f"{file}, which is gone" in pipeline.error()
    assert pipeline.ids("landed") == []
    (pipeline.folder / "1.json").rename(file)
    pipeline.update()
    assert pipeline.ids("copied") == [1, 2]


def test_a_planned_file_that_is_gone_after_it_was_written_does_not_matter(pipeline, monkeypatch):
    with monkeypatch.context() as patched:
        dies(patched, "finish")
        pipeline.error()
    (pipeline.folder / "storage" / VOLUME.lstrip("/") / "1.json").unlink()
    pipeline.update()
    assert pipeline.ids("copied") == [1, 2]


def test_folders_above_what_is_read_give_no_columns(tmp_path, spark):
    pipeline = Pipeline(tmp_path)
    pipeline.storage = Storage(tmp_path / "env=dev;a=b" / "storage")
    text = LANDED.format(path=VOLUME).replace(".schema('id int')", "")
    pipeline.write(landed=text).land("day=1/1.json", 7)
    pipeline.update()
    [row] = read_table(pipeline.storage, TableName("main", "default", "landed")).to_pylist()
    assert row == {"id": "7", "day": "1", "_rescued_data": None}
