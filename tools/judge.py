"""Run the tests of a module that a mutant broke: `python tools/judge.py MODULE TEST…`, in a scratch tree.

The exit status is 0 if all pass, 1 at the first that fails or can't be collected. Cosmic Ray calls it."""

import subprocess
import sys
from pathlib import Path

from scratch_tree import FAILED, PASSED, test_command, test_environment, write_into_chapter


def judge(
    module: str,  # path of the module, from the tree's top
    tests: list[str],  # as for `test_command`, the quickest first
    tree: Path,  # the scratch tree
) -> int:  # PASSED or FAILED
    "Run tests in order until one fails. They stay in this process's group, which a timeout ends as one."
    for test in tests:
        if test.endswith(".ipynb"):
            write_into_chapter(module, tree)
        if subprocess.run(test_command(test), cwd=tree, env=test_environment(tree)).returncode != PASSED:
            return FAILED
    return PASSED


if __name__ == "__main__":
    sys.exit(judge(sys.argv[1], sys.argv[2:], Path.cwd()))
