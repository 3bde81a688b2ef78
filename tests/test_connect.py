"The chapters of the library run on Spark Connect, which is what serverless is: same cells, same assertions."

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "grpc", reason="Spark Connect needs grpcio, grpcio-status, googleapis-common-protos and zstandard"
)

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = [
    "01_bronze",
    "02_quality",
    "03_silver",
    "03a_events",
    "04_scd1",
    "05_scd2",
    "05a_snapshots",
    "06_gold",
    "07_customers",
    "12_checks",
]


def test_chapters_on_connect():
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))
    } | {"SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/on_connect.py"), "spark", *[f"{name}.ipynb" for name in CHAPTERS]],
        cwd=ROOT / "nbs",
        capture_output=True,
        text=True,
        timeout=900,
        env=environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(" cells\n") == len(CHAPTERS), done.stdout


def test_every_chapter_that_takes_frames_is_run_on_connect():
    "A new chapter of the library proper joins the list."
    uses = {
        path.stem
        for path in (ROOT / "nbs").glob("[0-9]*.ipynb")
        if "from cdc_local.engines.session import local_spark" in path.read_text()
    }
    assert uses == set(CHAPTERS)
