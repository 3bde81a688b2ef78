"A workspace that runs, and a client of it"

import pytest
from served_workspace import USER, Work, client, open_workspace

from cdc_local.storage import Storage
from cdc_local.workspace.paths import WorkspacePaths
from cdc_local.workspace.state import State


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "cdc").create()


@pytest.fixture
def work():
    work = Work()
    yield work
    work.may_end.set()


@pytest.fixture
def running(storage, work):
    with open_workspace(storage, work) as running:
        yield running
        work.may_end.set()


@pytest.fixture
def w(running):
    return client(running)


@pytest.fixture
def state(storage):
    return State(storage, USER)


@pytest.fixture
def paths(storage):
    return WorkspacePaths(storage)
