"What the event log tells of a declaration: the whole statement that a line belongs to."

import pytest

from cdc_local.errors import Location
from cdc_local.update.flow_definition import declaration_text

PYTHON = """from pyspark import pipelines as dp

@dp.table(
    comment="clean",
)
def clean():
    return 1

other = 2
"""

SQL = """-- sales
CREATE STREAMING TABLE a
  AS SELECT 1; CREATE STREAMING TABLE b AS SELECT ';'
;
CREATE STREAMING TABLE c AS SELECT 3
"""


@pytest.mark.parametrize(
    "name, text, line, expected",
    [
        ("etl.py", PYTHON, 3, "\n".join(PYTHON.splitlines()[2:7])),
        ("etl.py", PYTHON, 7, "\n".join(PYTHON.splitlines()[2:7])),
        ("etl.py", PYTHON, 9, "other = 2"),
        ("etl.py", PYTHON, 2, ""),
        ("etl.sql", SQL, 2, "\n".join(SQL.splitlines()[1:3])),
        ("etl.sql", SQL, 4, "\n".join(SQL.splitlines()[2:4])),
        ("etl.sql", SQL, 5, "CREATE STREAMING TABLE c AS SELECT 3"),
        ("etl.py", "def (", 1, ""),
    ],
)
def test_the_statement_of_a_line_is_read_in_full(tmp_path, name, text, line, expected):
    (tmp_path / name).write_text(text)
    assert declaration_text(Location(str(tmp_path / name), line)) == expected


def test_a_cell_of_a_notebook_and_a_file_that_is_gone_have_no_text(tmp_path):
    assert declaration_text(Location(f"{tmp_path / 'n.ipynb'} cell 2", 1)) == ""
    assert declaration_text(Location(str(tmp_path / "gone.py"), 1)) == ""
