"`cdc show`: what is printed is what the table has, for the eye and for a program."

import json

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typed_commands import typed

from cdc_local.storage import Storage, TableName


def test_json_says_exactly_what_is_in_the_table(filled_storage):
    done = typed("show", "kinds", "--format", "json", "--storage", str(filled_storage.root))
    assert done.stdout == (
        '{"id": "007", "at": "2024-05-01T10:30:00Z", "price": 1.10, "tags": ["a", null], '
        '"raw": "eHl6", "n": "NaN", "gone": null}\n'
    )


def test_hidden_rows_and_columns_stay_hidden(filled_storage):
    done = typed("show", "main.sales.cities", "--format", "json", "--storage", str(filled_storage.root))
    assert done.stdout == '{"id": "1", "city": "new"}\n'
    listed = typed("show", "--format", "csv", "--storage", str(filled_storage.root)).stdout.splitlines()
    assert listed == [
        "table,rows",
        "main.default.customers,30",
        "main.default.kinds,1",
        "main.sales.cities,1",
    ]


def test_limit_all_and_where(filled_storage):
    def lines(*more):
        return len(
            typed(
                "show", "customers", "--format", "json", *more, "--storage", str(filled_storage.root)
            ).stdout.splitlines()
        )

    assert (lines(), lines("--limit", "3"), lines("--limit", "0"), lines("--all")) == (20, 3, 0, 30)
    assert (lines("--where", "city is null"), lines("--all", "--where", "city = 'Rome'")) == (10, 10)
    told = typed(
        "show", "customers", "--limit", "2", "--where", "city is null", "--storage", str(filled_storage.root)
    ).stdout
    assert told.splitlines()[-1] == "2 of 10 rows; --limit N or --all shows more"


def test_pipes_get_100_columns_and_lose_nothing(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    write_deltalake(
        str(storage.table_path(TableName("main", "default", "notes"))),
        pa.table({"id": ["1"], "note": ["word " * 60 + "end"]}),
    )
    out = typed("show", "notes", "--storage", str(storage.root)).stdout
    assert max(map(len, out.splitlines())) <= 100 and out.count("word") == 60 and "end" in out


def test_a_newer_storage_is_refused(tmp_path):
    (tmp_path / "storage.json").write_text('{"format": 99}')
    done = typed("show", "--storage", str(tmp_path))
    assert done.exit_code == 2 and "storage format 99" in done.stderr


PEOPLE = pa.table({"id": ["1", "2", "3"], "city": ["Oslo", None, "Rome, Italy"]})


@pytest.fixture
def show(storage):
    "Type `cdc show` over a storage with one table."
    write_deltalake(str(storage.table_path(TableName("main", "default", "customers"))), PEOPLE)
    return lambda *words: typed("show", *words, "--storage", str(storage.root))


def test_rows_for_the_eye_end_with_how_many_there_are(show):
    done = show("customers", "--limit", "2")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["id", "city"],
        ["─────────"],
        ["1", "Oslo"],
        ["2", "NULL"],
        ["2", "of", "3", "rows;", "--limit", "N", "or", "--all", "shows", "more"],
    ]
    assert show("customers", "--all", "--limit", "1").stdout.splitlines()[-1] == "3 rows"


def test_rows_for_a_program_are_json_or_csv(show):
    lines = show("customers", "--format", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == PEOPLE.to_pylist()
    done = show("main.default.customers", "--format", "csv")
    assert done.stdout == 'id,city\n1,Oslo\n2,\n3,"Rome, Italy"\n'
    done = show("customers", "--where", "id >= '2'", "--format", "csv")
    assert done.stdout.splitlines() == ["id,city", "2,", '3,"Rome, Italy"']


def test_chosen_columns_are_shown_in_their_order_and_sort_the_rows(show):
    done = show("customers", "--columns", "city,id", "--limit", "1", "--format", "csv")
    assert done.stdout == "city,id\nOslo,1\n"
    wrong = show("customers", "--columns", "town")
    assert wrong.exit_code == 2 and "has no column 'town'" in wrong.stderr


def test_without_a_table_all_of_them_are_listed(show, tmp_path):
    assert show("--format", "json").stdout == '{"table": "main.default.customers", "rows": 3}\n'
    assert ["main.default.customers", "3"] in [line.split() for line in show().stdout.splitlines()]
    empty = Storage(tmp_path / "empty").create()
    done = typed("show", "--storage", str(empty.root))
    assert done.stdout.startswith("no tables in ")


def test_wrong_use_says_what_there_is_instead(show):
    wrong = show("custmers")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "did you mean main.default.customers?" in wrong.stderr
    wrong = show("customers", "--where", "town = 1")
    assert wrong.exit_code == 2 and 'Referenced column "town" not found' in wrong.stderr
    wrong = typed("show", "--storage", "nowhere")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "error: no storage folder nowhere; `cdc demo` or `cdc run` makes one; --storage DIR names another\n",
    )
    assert show("customers", "--format", "xml").exit_code == 2
