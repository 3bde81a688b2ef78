"""Build the wheel from a clean copy of the package, offline: the same sources give the same bytes.

    python tools/wheel.py FOLDER"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
EPOCH = "1577836800"  # the time that every file in the wheel gets


def build(folder):
    "Build in a copy, so that nothing of an earlier build gets in; the path of the wheel"
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name in NEEDED: shutil.copy2(ROOT / name, work)
        shutil.copytree(ROOT / "cdc_utils", Path(work, "cdc_utils"), ignore=shutil.ignore_patterns("__pycache__"))
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(Path(work, "out")), work]
        done = subprocess.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, capture_output=True, text=True)
        if done.returncode: sys.exit(done.stdout + done.stderr)
        wheel = next(Path(work, "out").glob("*.whl"))
        return Path(shutil.copy2(wheel, folder / wheel.name))


if __name__ == "__main__":
    if len(sys.argv) != 2: sys.exit(__doc__)
    made = build(sys.argv[1])
    print(made.relative_to(Path.cwd()) if made.is_relative_to(Path.cwd()) else made)
