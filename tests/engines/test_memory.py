"How much memory Java gets: what is asked for, else a share of the machine's."

import pytest

from cdc_local.engines.spark import memory
from cdc_local.engines.spark.memory import choose_memory, describe_memory, machine_memory, parse_memory
from cdc_local.errors import UsageError

GIB = 2**30


@pytest.mark.parametrize(
    "text, size",
    [("4g", 4 * GIB), ("512m", GIB // 2), (" 3500 M ", 3500 * 2**20), ("2GB", 2 * GIB), ("2GiB", 2 * GIB)],
)
def test_a_size_is_a_number_and_its_unit(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "lots", "4", "-4g", "4.5g", "4t", "g", "4g 2m"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"--memory .* is not a size; write e.g. --memory 4g"):
        parse_memory(text)


def test_less_than_spark_needs_is_refused():
    with pytest.raises(UsageError, match="--memory '511m' is too little: Spark needs 512m"):
        parse_memory("511m")


@pytest.mark.parametrize(
    "machine, chosen", [(1, "2048m"), (8, "2048m"), (24, "6144m"), (64, "16384m"), (512, "16384m")]
)
def test_a_quarter_of_the_machines_memory_within_bounds(monkeypatch, machine, chosen):
    monkeypatch.setattr(memory, "machine_memory", lambda: machine * GIB)
    assert choose_memory({}) == chosen
    assert choose_memory({"CDC_MEMORY": "3g"}) == "3072m"


def test_a_container_has_the_memory_of_its_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "gone"), str(tmp_path / "max")))
    (tmp_path / "max").write_text("max\n")
    assert machine_memory() > GIB // 2
    (tmp_path / "max").write_text(f"{GIB // 2}\n")
    assert machine_memory() == GIB // 2


def test_memory_as_a_person_writes_it():
    assert (describe_memory("2048m"), describe_memory("6016m")) == ("2 GB", "5.9 GB")


def test_java_gets_it(spark):
    most = spark._jvm.java.lang.Runtime.getRuntime().maxMemory()
    assert 0.9 * parse_memory(choose_memory()) < most <= parse_memory(choose_memory())
