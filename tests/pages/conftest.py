"Pages over a storage, asked without a port"

import pytest
from shown_storages import NEW, OLD, open_pages, record_update

from cdc_local.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "cdc").create()


@pytest.fixture
def logged(storage):
    "A storage with an update that failed, and a newer one that completed"
    record_update(storage, OLD, fails=True)
    record_update(storage, NEW)
    return storage


@pytest.fixture
def pages(logged):
    return open_pages(logged)
