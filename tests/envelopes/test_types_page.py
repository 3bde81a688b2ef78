"The page of types names the columns that the proofs compare, and no others."

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def listed(database):
    "The rows of a database's table on the page"
    cells = json.loads((ROOT / "nbs/16_what_runs_where.ipynb").read_text(encoding="utf-8"))["cells"]
    [page] = ["".join(cell["source"]) for cell in cells if "### Types, compared" in "".join(cell["source"])]
    _, _, table = page.partition(f"| {database} | arrives as |")
    lines = table.split("\n\n")[0].splitlines()[2:]
    return {tuple(part.strip(" `") for part in line.split(" |")[:3]) for line in lines}


@pytest.mark.parametrize("database", ["PostgreSQL", "MariaDB"])
def test_the_page_has_the_types_that_are_compared(database, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools/databases")
    import columns

    compared = columns.POSTGRES if database == "PostgreSQL" else columns.MARIADB
    expected = {(column.source, column.arrives, column.encoding or "") for column in compared.values()}
    found = {tuple(re.sub(r"^\|\s*`?", "", part) for part in row) for row in listed(database)}
    assert found == expected
