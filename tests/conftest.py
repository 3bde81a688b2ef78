"""The engine of each file's tests, and the order of files.

Tests run on Spark, the reference, unless their file says `pytestmark = pytest.mark.sail`; where CDC_ENGINE is
set, all run on the engine that it names. Files on Sail come first, since Sail gives way to Spark and Spark to
nobody; then those that take long, so that no worker is left alone with one of them.
"""

import os
import signal
from pathlib import Path

import pytest

# A script that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ASKED_ENGINE = os.environ.get("CDC_ENGINE")

LONGEST = (
    "runs_like_databricks_on_spark",
    "both_engines",
    "site",
    "lab",
    "small_batches",
    "repair",
    "connect",
    "erase",
    "writes",
    "benchmarks",
    "check",
    "kill",
    "checksums",
)

here = {path.stem for path in Path(__file__).parent.rglob("test_*.py")}
gone = [name for name in LONGEST if f"test_{name}" not in here]
if gone:
    raise pytest.UsageError(f"tests/conftest.py: LONGEST names files that are not there: {', '.join(gone)}")


def pytest_collection_modifyitems(items):
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (engine_of(item) != "sail", ranks.get(item.path.stem, len(ranks))))


def engine_of(node):
    "The engine that a file, or a test in it, runs on."
    return ASKED_ENGINE or ("sail" if node.get_closest_marker("sail") else "spark")


@pytest.fixture(scope="module", autouse=True)
def file_engine(request):
    "The engine of a file: of its sessions, its updates, and the processes that it starts."
    from cdc_local.engines.sail.session import end_session
    from cdc_local.engines.session import ENGINE_VARIABLE

    name = engine_of(request.node)
    if name != "sail":
        end_session()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(ENGINE_VARIABLE, name)
        yield name


@pytest.fixture(scope="module")
def spark(file_engine):
    "The session that updates run in."
    from cdc_local.engines.session import local_spark

    return local_spark()


@pytest.fixture
def storage(tmp_path):
    from cdc_local.storage import Storage

    return Storage(tmp_path / "cdc").create()


@pytest.fixture(scope="module")
def tiny(file_engine, spark):
    "A session for frames so small that planning a query costs more than running it."
    if file_engine == "sail":
        return spark
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    return session
