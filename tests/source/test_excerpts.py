"The line that an error is about, as it is shown."

import json

import pytest

from cdc_local.errors import Location, PipelineError
from cdc_local.source.excerpts import describe_place, read_line
from cdc_local.source.files import execute_source, read_source


def place_of(tmp_path, monkeypatch, text, name="etl.py"):
    "Run a source file; how the error that it raises is shown."
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError) as wrong:
        execute_source(read_source(name), {}, lambda sql, location: None)
    return describe_place(wrong.value).splitlines()


def test_the_call_that_failed_is_marked_in_its_line(tmp_path, monkeypatch):
    assert place_of(tmp_path, monkeypatch, "def f():\n    return 1 + len(3) + 2\n\nf()\n") == [
        "    2 |     return 1 + len(3) + 2",
        "      |                ^^^^^^",
    ]


def test_letters_of_several_bytes_move_no_mark(tmp_path, monkeypatch):
    assert place_of(tmp_path, monkeypatch, "x = ['äöü€', len(3)]\n") == [
        "    1 | x = ['äöü€', len(3)]",
        "      |              ^^^^^^",
    ]


def test_a_call_over_several_lines_is_marked_to_the_end_of_its_first(tmp_path, monkeypatch):
    assert place_of(tmp_path, monkeypatch, "x = len(\n  3\n)\n") == ["    1 | x = len(", "      |     ^^^^"]


def test_a_tab_stays_a_tab_in_the_line_of_marks(tmp_path, monkeypatch):
    assert place_of(tmp_path, monkeypatch, "if True:\n\tlen(3)\n")[1] == "      | \t^^^^^^"


def test_a_line_that_has_no_columns_is_marked_from_its_first_letter(tmp_path):
    (tmp_path / "a.sql").write_text("SELECT 1;\n  SELECT x\n")
    error = PipelineError("no x", Location(str(tmp_path / "a.sql"), 2))
    assert describe_place(error) == "    2 |   SELECT x\n      |   ^^^^^^^^"


def test_the_query_that_called_is_named_with_its_place(tmp_path):
    (tmp_path / "a.py").write_text("bad()\n")
    error = PipelineError("no", Location(str(tmp_path / "a.py"), 1))
    error.query, error.query_location = "main.default.clean", Location("etl.py", 7)
    assert describe_place(error).splitlines()[-1] == "  in the query of main.default.clean (etl.py:7)"
    error.query_location = error.location
    assert describe_place(error).splitlines()[-1] == "  in the query of main.default.clean"


def test_a_cell_of_a_notebook_has_lines_of_its_own(tmp_path):
    cells = [{"source": ["a = 1\n", "b = 2"]}, {"source": ["c = 3\n", "d = 4"]}]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    assert read_line(Location(f"{tmp_path / 'n.ipynb'} cell 2", 2)) == "d = 4"


@pytest.mark.parametrize("place", ["nothing.py", "n.ipynb cell 9", "n.ipynb cell 1"])
def test_what_cannot_be_read_is_left_out(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.ipynb").write_text("{}")
    assert read_line(Location(place, 1)) is None
    assert describe_place(PipelineError("no", Location(place, 1))) == ""


def test_a_long_line_is_cut(tmp_path):
    (tmp_path / "a.py").write_text("x" * 10_000)
    shown = describe_place(PipelineError("no", Location(str(tmp_path / "a.py"), 1)))
    assert max(map(len, shown.splitlines())) < 220
