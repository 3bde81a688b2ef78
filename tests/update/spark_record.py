"""What Spark gave for the pipelines of test_both_engines.py, written down: it takes minutes, and can't change
while the pipeline, its events, and Spark's side of an update stay as they are.

    RECORD=1 .venv/bin/pytest tests/update/test_both_engines.py -k "rules or sql"

runs these on Spark and writes down what comes out; `make prove ARGS=reference` does so for all.
"""

import hashlib
import json
import os
from pathlib import Path

RECORD = Path(__file__).with_name("spark_record.json")
REMAKES = bool(os.environ.get("RECORD"))


def write_record(name: str, asked: object, given: list) -> None:
    "Put what Spark gave for one pipeline into the record."
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record[name] = {"asked": digest(asked), "given": given}
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=1, ensure_ascii=False) + "\n")


def read_record(name: str, asked: object) -> list:
    "What Spark gave for one pipeline, which must be the one that was asked."
    found = json.loads(RECORD.read_text()).get(name, {})
    assert found.get("asked") == digest(asked), (
        f"{RECORD.name} has no answer for {name!r} as it is now: write it down with "
        f'RECORD=1 .venv/bin/pytest tests/update/test_both_engines.py -k "{name}"'
    )
    return found["given"]


def digest(asked: object) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
