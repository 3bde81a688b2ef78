"What the runner refuses of flows: each is refused in so many words, at its line, and was looked up."

import datetime
from pathlib import Path

import pytest
import yaml
from test_both_engines import Updates
from test_replace_flows import STORED, Pipeline

REFUSALS = yaml.safe_load((Path(__file__).parent / "refusals.yml").read_text())


@pytest.fixture(scope="module")
def sail():
    updates = Updates("sail")
    yield updates
    updates.close()


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal["what"])
def test_a_refusal_is_in_so_many_words_at_its_line(refusal, sail, tmp_path):
    done = Pipeline(tmp_path, sail).write(refusal["source"]).land(STORED).run()
    assert done["state"] == "REFUSED", done
    assert refusal["says"] in done["message"] and "pipeline." in done["message"]
    assert "Exception" not in done["message"] and "Traceback" not in done["message"]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal["what"])
def test_a_refusal_was_looked_up(refusal):
    assert refusal["databricks"] and refusal["page"].startswith("https://")
    assert isinstance(refusal["checked"], datetime.date)
