"Chapters of the library run on Spark Connect, which is what serverless is, and on Sail: same assertions."

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
    "05b_bitemporal",
    "06_gold",
    "07_customers",
    "12_checks",
]


ON_SAIL = ["02_quality", "03_silver", "06_gold"]  # some of those that ask for it; nbval compares all of them


def run_chapters(engine, chapters, **more):
    "Run chapters in a process, on one engine"
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))
    } | {"SPARK_LOCAL_IP": "127.0.0.1", **more}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/on_connect.py"), engine, *[f"{name}.ipynb" for name in chapters]],
        cwd=ROOT / "nbs",
        capture_output=True,
        text=True,
        timeout=900,
        env=environ,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(" cells\n") == len(chapters), done.stdout


def test_chapters_on_connect():
    run_chapters("spark", CHAPTERS)


def test_chapters_on_sail_without_java(tmp_path):
    run_chapters("sail", ON_SAIL, PATH=str(tmp_path), JAVA_HOME=str(tmp_path))


def test_every_chapter_that_takes_frames_is_run_on_connect():
    "A new chapter of the library proper joins the list."
    uses = {
        path.stem
        for path in (ROOT / "nbs").glob("[0-9]*.ipynb")
        if "from cdc_local.engines.session import local_spark" in path.read_text()
    }
    assert uses == set(CHAPTERS)
