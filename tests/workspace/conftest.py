"A workspace that runs, and a client of it"

import pytest
from served_workspace import Work, client, open_workspace

from cdc_local.storage import Storage


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
