"A project that `cdc init` wrote, without the seconds that its wheel takes to build."

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from cdc_local.bundles.check import bundle_problems
from cdc_local.cli.main import app
from cdc_local.delta.reader import read_rows
from cdc_local.project import files
from cdc_local.storage import Storage, TableName
from cdc_local.unit_tests.check import run_test
from cdc_local.unit_tests.declarations import read_unit_tests
from cdc_local.unit_tests.pipeline import PipelineUnderTest
from cdc_local.unit_tests.settings import find_settings
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update


@pytest.fixture
def init(monkeypatch):
    "Type `cdc init`; an empty file stands for the wheel."

    def leave_empty_wheel(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / files.deployed_name()).touch()

    monkeypatch.setattr(files, "build_wheel", leave_empty_wheel)
    return lambda *words: CliRunner().invoke(app, ["init", *map(str, words)])


def update(project):
    "Run one update, as `cdc run transformations` does; the tables' reader"
    storage = Storage(project / ".cdc")
    request = UpdateRequest(
        sources=(str(project / "transformations"),),
        storage=storage.root,
        catalog="main",
        schema="default",
        configuration={"cdc.catalog": "main", "cdc.schema": "default"},
    )
    assert run_update(request).state == "COMPLETED"
    return lambda table, *columns: sorted(
        read_rows(storage, TableName("main", "default", table), columns).values
    )


def run_own_tests(project, folder):
    "Run a project's unit tests; how many there are"
    [path] = project.glob("transformations/*.unit_tests.yml")
    content = read_unit_tests(path)
    for number, test in enumerate(content.tests):
        place = folder / str(number)
        place.mkdir(parents=True)
        settings = find_settings(path, project, content.pipeline)
        run_test(test, PipelineUnderTest(settings, place), path.parent)
    return len(content.tests)


@pytest.fixture
def written():
    return SimpleNamespace(update=update, run_own_tests=run_own_tests, problems=bundle_problems)
