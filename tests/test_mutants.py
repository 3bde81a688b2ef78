"Every fault in tests/mutants still applies, and names a test that is there; `make prove` sees whether the test catches it."
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PATCHES = sorted((ROOT / "tests/mutants").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_applies_and_names_its_test(patch):
    done = subprocess.run(["git", "apply", "--check", "--unidiff-zero", "-C1", str(patch)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{patch.name} does not fit the code any more: write it anew\n{done.stderr}"
    named = [line.removeprefix("Caught-by:").strip() for line in patch.read_text().splitlines() if line.startswith("Caught-by:")]
    assert len(named) == 1 and (ROOT / named[0].split("::")[0]).is_file(), named
    function = named[0].partition("::")[2]
    assert f"def {function}(" in (ROOT / named[0].split("::")[0]).read_text() if function else True
