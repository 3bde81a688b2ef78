"""The job's notebooks, run cell by cell: with parameters, without the wheel, with bad deliveries."""

import json
import sys
from pathlib import Path

import pytest

from cdc_utils import feed

FOLDER = Path(__file__).parents[2] / "nbs" / "explorations"
NOTEBOOKS = ("data_creation", "exploration")


def cells(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(name, **given):
    "Run a notebook's cells in one namespace, which is returned."
    names = dict(given)
    for cell in cells(name):
        exec(compile(cell, name, "exec"), names)
    return names


class Widgets:
    def __init__(self, job):
        self.job, self.defaults = job, {}

    def text(self, name, default):
        self.defaults[name] = default

    def get(self, name):
        return (self.defaults | self.job)[name]


class Utilities:
    def __init__(self, **job):
        self.widgets = Widgets(job)


class Shell:
    def __init__(self):
        self.lines = []

    def run_line_magic(self, name, line):
        self.lines.append(f"%{name} {line}")


@pytest.fixture
def raw(tmp_path, monkeypatch):
    "The raw folder of an otherwise empty storage."
    monkeypatch.setenv("CDC_STORAGE", str(tmp_path))
    for name in ("MOCK", "CATALOG", "SCHEMA", "ROWS", "FILES"):
        monkeypatch.delenv(f"CDC_PARAM_{name}", raising=False)
    return tmp_path / "Volumes/main/cdc/raw_data/customers"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_without_the_wheel_the_first_cell_installs_it(name, monkeypatch):
    shell = Shell()
    given = {
        "get_ipython": lambda: shell,
        "dbutils": Utilities(wheel="/Volumes/main/cdc/wheels/cdc_utils-1-py3-none-any.whl"),
    }
    exec(cells(name)[0], dict(given))
    assert shell.lines == [], "the wheel is there"
    monkeypatch.setitem(sys.modules, "cdc_utils", None)
    with pytest.raises(ModuleNotFoundError):
        import cdc_utils  # noqa: F401
    exec(cells(name)[0], dict(given))
    assert shell.lines == ["%pip install --quiet /Volumes/main/cdc/wheels/cdc_utils-1-py3-none-any.whl faker"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_never_ask_where_they_are(name):
    text = "\n".join(cells(name))
    assert "DATABRICKS" not in text and "os.environ" not in text and "cdc_local" not in text


def test_data_is_created_only_for_mock(raw, tmp_path):
    assert run("data_creation", dbutils=Utilities(mock="false"))["summary"] is None
    assert list(tmp_path.iterdir()) == []
    asked = Utilities(mock="true", rows="100", files="2")
    assert [run("data_creation", dbutils=asked)["summary"].day for _ in range(2)] == [1, 2]
    assert feed.days(raw) == [1, 2] and len(list(raw.iterdir())) == 4


def test_parameters_come_from_the_environment_without_dbutils(raw, monkeypatch):
    for name, value in {"MOCK": "true", "ROWS": "60", "FILES": "1"}.items():
        monkeypatch.setenv(f"CDC_PARAM_{name}", value)
    assert run("data_creation")["summary"].rows == 60
    assert [path.name for path in raw.iterdir()] == ["customers-0001-00.json"]


def test_a_misspelt_flag_is_named(raw):
    with pytest.raises(ValueError, match="mock is 'yes'; give true or false"):
        run("data_creation", dbutils=Utilities(mock="yes"))


def test_exploration_stops_for_no_files(raw):
    with pytest.raises(ValueError, match="no JSON files in .*customers; run data_creation"):
        run("exploration", spark=object())


def test_exploration_stops_for_no_rows(raw, spark):
    raw.mkdir(parents=True)
    (raw / "empty.json").write_text("")
    with pytest.raises(ValueError, match="1 files in .*customers, but no rows"):
        run("exploration", spark=spark)


def test_exploration_stops_for_too_many_bad_rows_and_for_no_fewer(raw, spark):
    raw.mkdir(parents=True)

    def row(id):
        return json.dumps({"id": id, "operation": "APPEND", "operation_date": "2026-01-01T00:00:00.000Z"})

    (raw / "changes.json").write_text(
        "\n".join([row(str(number)) for number in range(6)] + [row("")] * 3 + ['{"cut'])
    )
    with pytest.raises(ValueError, match=r"4 of 10 rows \(40.0%\) break a rule, more than 10.0%"):
        run("exploration", spark=spark)
    assert run("exploration", spark=spark, dbutils=Utilities(max_bad="0.4"))["bad"] == 4


def test_exploration_sees_what_the_feed_says(raw, spark):
    summary = feed.write_feed(raw, rows=1_000, files=3)
    names = run("exploration", spark=spark)
    bad = summary.missing_ids + summary.unknown_operations + summary.mistyped + summary.corrupt
    assert (names["rows"], names["bad"]) == (1_000, bad)
    assert (names["duplicates"].copies.sum(), names["duplicates"].conflicts.sum()) == (summary.duplicates, 0)
    good = summary.inserts + summary.updates + summary.deletes + summary.reinserts
    assert (names["per_id"].changes * names["per_id"].ids).sum() == good
