"What a live update depends on, and which changes of it count."

import os

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.update.request import UpdateRequest
from cdc_local.update.watched_files import (
    changed_files,
    list_folders,
    list_watched_code,
    list_watched_inputs,
    take_snapshot,
)


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A folder with sources, modules, an input and a storage, which is the current one."
    for name in ("etl/a.py", "etl/deep/b.sql", "helper.py", "landing/one.json", "landing/day=1/two.json"):
        write(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def request_of(project):
    return lambda *sources, **more: UpdateRequest(tuple(sources), project / "store", **more)


@pytest.fixture
def changes(request_of, project):
    "What a change of a project's files, made by a function, changes for an update"

    def changes_of(change, sources=("etl",), **noted):
        asked, inputs = request_of(*sources), UpdateInputs(**noted)

        def look():
            watched = list_watched_code(asked, inputs) | list_watched_inputs(asked, inputs)
            return take_snapshot(watched), list_folders(watched)

        before, folders = look()
        change()
        after, _ = look()
        return {str(file): code for file, code in changed_files(before, after).items()}, folders

    return changes_of


def names(project, files):
    return {os.path.relpath(file, project): code for file, code in files.items()}


@pytest.mark.parametrize(
    "name, sources",
    [
        ("etl/a.py", ["etl"]),
        ("etl/new.py", ["etl"]),
        ("etl/later/c.sql", ["etl"]),
        ("etl/later/c.sql", ["etl/**"]),
        ("etl/a.py", ["etl/a.py"]),
    ],
)
def test_a_source_that_came_or_changed_is_code(changes, project, name, sources):
    found, _ = changes(lambda: write(project / name, "longer"), sources)
    assert names(project, found)[name] is True


def test_a_pattern_begins_in_the_current_folder(request_of, project):
    write(project / "two.py")
    folders = list_folders(list_watched_code(request_of("*.py"), UpdateInputs()))
    below = ("etl", "etl/deep", "landing", "landing/day=1")
    assert folders == {project, *(project / name for name in below)}


def test_a_source_that_went_is_a_change(changes, project):
    found, _ = changes((project / "etl/a.py").unlink)
    assert names(project, found) == {"etl/a.py": True}


def test_modules_beside_the_sources_and_those_that_were_imported_are_code(changes, project):
    package = write(project / "lib/rules/__init__.py").parent
    for name, noted in (("helper.py", set()), ("lib/rules/more.py", {package, package / "__init__.py"})):
        found, _ = changes(lambda name=name: write(project / name, "longer"), modules=noted)
        assert names(project, found) == {name: True}
    found, _ = changes(lambda: write(project / "lib/other.py"))
    assert found == {}


def test_a_folder_that_may_become_a_package_is_a_change_and_what_happens_in_it_is_none(changes, project):
    found, _ = changes(lambda: write(project / "rules/one.txt"))
    assert names(project, found) == {"rules": True}
    found, _ = changes(lambda: write(project / "rules/two.txt"))
    assert found == {}


def test_files_of_an_input_are_data(changes, project):
    landing = {str(project / "landing")}
    for name in ("landing/three.json", "landing/day=2/four.json", "landing/one.json", "landing/_d=1/x.json"):
        found, _ = changes(lambda name=name: write(project / name, "longer"), paths=landing)
        assert names(project, found) == {name: False}


@pytest.mark.parametrize("name", ["landing/_schemas/0", "landing/.one.json.swp", "landing/_SUCCESS"])
def test_files_that_spark_does_not_read_are_no_input(changes, project, name):
    found, _ = changes(lambda: write(project / name), paths={str(project / "landing")})
    assert found == {}


def test_what_an_update_writes_is_no_change(changes, project):
    own = ["tables/main/default/t/_delta_log/0.json", "checkpoints/x", "event_log/y", "wheels/w-1/m.py"]

    def write_own():
        for name in own:
            write(project / "store" / name)

    everything = {str(project), str(project / "store"), str(project / "store/tables/main/default/t")}
    found, folders = changes(write_own, sources=["."], paths=everything)
    assert found == {} and not any(folder.is_relative_to(project / "store") for folder in folders)


def test_volumes_of_the_storage_are_inputs(changes, project):
    volume = project / "store/Volumes/main/default/landing"
    found, folders = changes(lambda: write(volume / "one.json"), paths={str(volume)})
    assert names(project, found) == {"store/Volumes/main/default/landing/one.json": False}
    assert project in folders  # the nearest folder that was there


def test_commits_of_a_table_of_another_pipeline_are_changes_and_its_files_are_none(changes, project):
    mine = project / "store/tables/main/default/theirs"
    elsewhere = write(project / "far/_delta_log/00.json").parents[1]

    def commit():
        for table in (mine, elsewhere):
            write(table / "_delta_log/01.json")
            write(table / "_delta_log/01.checkpoint.parquet")
            write(table / "part-0.parquet")

    found, _ = changes(commit, tables={mine}, paths={str(elsewhere)})
    assert names(project, found) == {
        "far/_delta_log/01.json": False,
        "store/tables/main/default/theirs/_delta_log/01.json": False,
    }


def test_a_glob_stands_for_what_lies_below_its_fixed_part(changes, project):
    for pattern in ("landing/*.json", "landing/{a,b}/*", "landing/day=[12]"):
        write(project / "landing/new.json", pattern)
        found, folders = changes(
            lambda: (project / "landing/new.json").unlink(), paths={str(project / pattern)}
        )
        assert names(project, found) == {"landing/new.json": False}
        assert {project / "landing", project / "landing/day=1"} <= folders


def test_one_file_that_is_read_does_not_bring_its_neighbours(changes, project):
    def change():
        write(project / "landing/one.json", "longer")
        write(project / "landing/other.json")

    found, folders = changes(change, paths={str(project / "landing/one.json")})
    assert names(project, found) == {"landing/one.json": False} and project / "landing" in folders


def test_notebooks_that_sources_run_and_wheels_are_code(request_of, project):
    notebook, wheel = write(project / "shared/setup.sql"), write(project / "dist/x-1.whl")
    asked = request_of("etl/a.py", wheels=("dist/x-1.whl",))
    watched = list_watched_code(asked, UpdateInputs(sources={notebook, project / "etl/a.py"}))
    before = take_snapshot(watched)
    for file in (notebook, wheel):
        write(file, "longer")
    assert changed_files(before, take_snapshot(watched)) == {notebook: True, wheel: True}
    assert {project / "shared", project / "dist"} <= list_folders(watched)


def test_a_link_in_a_circle_is_not_followed(changes, project):
    (project / "landing/again").symlink_to(project / "landing")
    found, _ = changes(lambda: write(project / "landing/new.json"), paths={str(project / "landing")})
    assert names(project, found) == {"landing/new.json": False}


def test_paths_of_this_machine_are_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = UpdateInputs()
    for value in ("landing", "file:///data/x", ["/a", "/b"], "s3://bucket/x", "abfss://c@d/x", None, 7):
        inputs.add_paths(value)
    assert inputs.paths == {str(tmp_path / "landing"), "/data/x", "/a", "/b"}


def test_a_file_that_only_the_newer_look_knows_is_no_change(request_of, project):
    asked = request_of("etl")
    before = take_snapshot(list_watched_inputs(asked, UpdateInputs()))
    after = take_snapshot(list_watched_inputs(asked, UpdateInputs(paths={str(project / "landing")})))
    assert changed_files(before, after) == {}
