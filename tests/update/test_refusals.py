"""What the runner refuses, each at its line, in so many words, with what to write instead, and looked up: the
rows of `refusals.yml`, and the constructs of Databricks' SQL that no engine has here."""

import datetime
import json
import re
from pathlib import Path

import pytest
import yaml
from test_replace_flows import STORED, Pipeline
from two_engines import Updates

from cdc_local.sql.constructs import CHECKED, CONSTRUCTS

REFUSALS = yaml.safe_load((Path(__file__).parent / "refusals.yml").read_text())
PAGE = Path(__file__).parents[2] / "nbs/16_what_runs_where.ipynb"


def as_refusal(construct):
    "A row of `constructs.py`, as one of `refusals.yml`; its example stands in line 2."
    example = construct.example
    return {
        "what": construct.name,
        "source": f"CREATE OR REFRESH MATERIALIZED VIEW t AS SELECT\n{example} AS x FROM main.ext.events",
        "says": construct.reason,
        "instead": construct.instead,
        "page": construct.address,
        "checked": datetime.date.fromisoformat(CHECKED),
        "line": 2,
    }


ALL = [*REFUSALS, *[as_refusal(construct) for construct in CONSTRUCTS if construct.reason]]
# What only an exception of Python's or Java's, or a stack, says
_OF_A_STACK = re.compile(r"Traceback|\bat (org|java|scala|io)\.|\.scala:|\.java:|Exception\b|Error:", re.I)


@pytest.fixture(scope="module")
def sail():
    updates = Updates("sail")
    yield updates
    updates.close()


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal["what"])
def test_a_refusal_has_its_line_its_name_and_what_to_write_instead(refusal, sail, tmp_path):
    done = Pipeline(tmp_path, sail).write(refusal["source"]).land(STORED).run()
    assert done["state"] == "REFUSED", done
    place = re.match(r"\S*pipeline\.(?:py|sql):(\d+)(?::\d+)?: ", done["message"])
    assert place and int(place[1]) <= refusal["source"].strip().count("\n") + 1, done["message"]
    assert int(place[1]) == refusal.get("line", int(place[1]))
    assert refusal["says"] in done["message"] and refusal["instead"] in done["message"]
    assert "\n" not in done["message"] and not _OF_A_STACK.search(done["message"])


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: refusal["what"])
def test_a_refusal_was_looked_up(refusal):
    assert refusal["page"].startswith("https://") and isinstance(refusal["checked"], datetime.date)


def written_in_what_runs_where():
    "The table of `refusals.yml`, as the page has it."
    rows = ["| a pipeline has | Databricks | here, instead |", "|---|---|---|"]
    for refusal in REFUSALS:
        told = " ".join(refusal["databricks"].split())
        rows.append(f"| {refusal['what']} | [{told}]({refusal['page']}) | {refusal['instead']} |")
    return "\n".join(rows)


def test_what_runs_where_has_the_list():
    cells = json.loads(PAGE.read_text())["cells"]
    page = "\n".join("".join(cell["source"]) for cell in cells)
    assert written_in_what_runs_where() in page, written_in_what_runs_where()


def test_every_refusal_says_what_databricks_does():
    assert all(refusal["databricks"] for refusal in REFUSALS)
    assert len({refusal["what"] for refusal in ALL}) == len(ALL)
