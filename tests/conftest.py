"""Files that take long begin first, so that no worker is left alone with one of them.

Tests run on Spark where they name no engine; those of Sail, and of both, say so.
"""

import os
import signal
from pathlib import Path

import pytest

# A script that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("CDC_ENGINE", "spark")

LONGEST = (
    "runs_like_databricks",
    "site",
    "lab",
    "update",
    "small_batches",
    "repair",
    "connect",
    "snapshots",
    "erase",
    "writes",
    "benchmarks",
    "check",
    "deployed",
    "kill",
    "checksums",
    "laws",
)

here = {path.stem for path in Path(__file__).parent.rglob("test_*.py")}
gone = [name for name in LONGEST if f"test_{name}" not in here]
if gone:
    raise pytest.UsageError(f"tests/conftest.py: LONGEST names files that are not there: {', '.join(gone)}")


def pytest_collection_modifyitems(items):
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session")
def spark():
    "The session that updates run in."
    from cdc_local.engines.spark.session import start_spark

    return start_spark()


@pytest.fixture
def storage(tmp_path):
    from cdc_local.storage import Storage

    return Storage(tmp_path / "cdc").create()


@pytest.fixture(scope="session")
def tiny(spark):
    "A session for frames so small that planning a query costs more than running it."
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    return session
