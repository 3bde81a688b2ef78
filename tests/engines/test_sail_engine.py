"The Sail engine: what it reads, hides, counts and writes, each check of sail_checks.py in one process."

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).with_name("sail_checks.py")


@pytest.fixture(scope="module")
def found():
    done = subprocess.run([sys.executable, str(CHECKS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", re.findall(r"^def (check_\w+)", CHECKS.read_text(), re.M))
def test_sail(name, found):
    assert found[name] is None, found[name]
