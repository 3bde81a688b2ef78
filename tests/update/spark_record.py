"""What Spark gave for the pipelines of test_both_engines.py, written down: it takes minutes, and can't change
while the pipeline, its events, and Spark's side of an update stay as they are.

    RECORD=1 .venv/bin/pytest tests/update/test_both_engines.py -k "rules or sql"

runs these on Spark and writes down what comes out; `make prove ARGS=reference` does so for all. A pipeline
that has no record, or has changed since, runs on Spark each time.
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


def read_record(name: str, asked: object) -> list | None:
    "What Spark gave for one pipeline; None where that was another, or none."
    found = json.loads(RECORD.read_text()).get(name, {})
    return found["given"] if found.get("asked") == digest(asked) else None


def digest(asked: object) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]
