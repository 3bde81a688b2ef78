"nbval runs the cells that nbdev-test runs, and compares notebooks that nbdev-clean cleaned."

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from nbdev.config import get_config
from nbdev.test import nb_test_cells

sys.path.append(str(Path(__file__).parent / "tools"))
from check import may_start_spark  # noqa: E402

for name in ("COLUMNS", "LINES"):
    os.environ.pop(
        name, None
    )  # xdist sets them for its workers; what a chapter shows must not depend on them
os.environ.pop("PYTEST_ADDOPTS", None)  # said to this run, not to the runs that a page shows
os.environ["SPARK_CONF_DIR"] = str(
    Path(__file__).parent / "tests/spark"
)  # any Spark started below is told what it says
os.environ["CDC_MEMORY"] = "2g"  # several JVMs run beside each other, and their tables are tiny
os.environ.setdefault("IN_TEST", "1")  # `nbdev_export()` cells do nothing, as under nbdev-test

JVM = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption(
        "--nb-flags", default="", help="words of tst_flags whose cells run all the same (nbdev-test --flags)"
    )


def pytest_collection_modifyitems(config, items):
    skip_flags, run_flags = get_config(config.rootpath).tst_flags.split(), config.option.nb_flags.split()
    running = {}
    for item in items:
        if type(item).__name__ != "IPyNbCell":
            continue
        if item.path not in running:
            running[item.path] = {cell.id for cell in nb_test_cells(item.path, skip_flags, run_flags)}
        if item.cell.id not in running[item.path]:
            item.options["skip"] = True
        # nbdev-clean blanks execution_count, which nbval reads as "never run" and would then not compare
        if item.cell.execution_count is None:
            item.cell.execution_count = 0
    if running:  # kernels named python3 are that of `make lab`
        os.environ["JUPYTER_PATH"] = str(config.rootpath / ".jupyter")
    if running and hasattr(
        config, "workerinput"
    ):  # a worker runs many notebooks; one alone would wait for more imports than it needs
        import ready_kernels

        ready_kernels.use()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    "Once the kernel of a notebook that may use Spark has started, it is given the JVM of this worker"
    starts = type(item).__name__ == "IPyNbCell" and not item.parent.kernel
    outcome = yield
    if starts and may_start_spark(item.path):
        import shared_jvm  # other tests do without

        if JVM not in item.config.stash:
            item.config.stash[JVM] = shared_jvm.launch()
            item.config.add_cleanup(partial(shared_jvm.close, item.config.stash[JVM]))
        shared_jvm.connect(item.parent.kernel.kc, item.config.stash[JVM])
    return outcome
