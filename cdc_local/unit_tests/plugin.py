"""What pytest loads: it collects `*.unit_tests.yml`, and has the fixture `pipeline` for tests in Python.

`pytest -p no:cdc_unit_tests` does without. What needs pyspark is imported where a test runs.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cdc_local.unit_tests.check import Mismatch
    from cdc_local.unit_tests.declarations import UnitTest
    from cdc_local.unit_tests.pipeline import PipelineUnderTest
    from cdc_local.unit_tests.settings import PipelineSettings

_SUFFIXES = (".unit_tests.yml", ".unit_tests.yaml")
_OPTION = "--update-unit-tests"
_REWRITTEN = pytest.StashKey[dict[str, list[str]]]()  # File -> names of its tests that were rewritten


def pytest_addoption(
    parser: pytest.Parser,  # Of the command line
) -> None:
    "Add the option that rewrites test files."
    parser.getgroup("pipelines", "unit tests of pipelines").addoption(
        _OPTION,
        action="store_true",
        help="write the rows and counts that came out into *.unit_tests.yml, instead of failing",
    )


def pytest_collect_file(
    file_path: Path,  # A file that pytest came upon
    parent: pytest.Collector,  # Its folder
) -> "UnitTestsFile | None":  # None for a file of another kind
    "Collect a file of unit tests."
    if not file_path.name.endswith(_SUFFIXES):
        return None
    file: UnitTestsFile = UnitTestsFile.from_parent(parent, path=file_path)
    return file


def pytest_terminal_summary(
    terminalreporter: Any,  # Prints
    config: pytest.Config,  # Of the run
) -> None:
    "Say which tests were rewritten."
    for file, names in config.stash.get(_REWRITTEN, {}).items():
        terminalreporter.write_line(f"rewritten in {file}: {', '.join(dict.fromkeys(names))}")


class UnitTestsFile(pytest.File):
    "A file of unit tests."

    def collect(self) -> Iterable[pytest.Item]:  # One a test
        "Read its tests; a mistake in it is an error that names its line."
        from cdc_local.errors import PipelineError
        from cdc_local.unit_tests.declarations import read_unit_tests
        from cdc_local.unit_tests.settings import find_settings

        try:
            content = read_unit_tests(self.path)
            settings = find_settings(self.path, self.config.rootpath, content.pipeline)
        except PipelineError as wrong:
            raise self.CollectError(str(wrong)) from None
        for test in content.tests:
            yield UnitTestItem.from_parent(self, name=test.name, test=test, settings=settings)


class UnitTestItem(pytest.Item):
    "One unit test."

    def __init__(
        self,
        test: "UnitTest",  # What it says
        settings: "PipelineSettings",  # Its pipeline
        **keywords: Any,  # Those of pytest
    ) -> None:
        super().__init__(**keywords)
        self.test, self.settings = test, settings
        self.extra_keyword_matches.add(test.model)

    def runtest(self) -> None:
        "Run it in a storage of its own."
        from cdc_local.unit_tests.check import run_test
        from cdc_local.unit_tests.pipeline import PipelineUnderTest

        factory: pytest.TempPathFactory = self.config._tmp_path_factory  # type: ignore[attr-defined]
        folder, told = factory.mktemp("unit_test"), partial(self.add_report_section, "call", "update")
        pipeline = PipelineUnderTest(self.settings, folder, self.test.configuration, told)
        on_mismatch = self._rewrite if self.config.getoption(_OPTION) else lambda mismatch: False
        run_test(self.test, pipeline, self.path.parent, on_mismatch)

    def _rewrite(
        self,
        mismatch: "Mismatch",  # What differs
    ) -> bool:
        "Write what came out into the file."
        from cdc_local.unit_tests.rewrite import rewrite

        rewrite(self.path, mismatch)
        file = self.nodeid.partition("::")[0]
        self.config.stash.setdefault(_REWRITTEN, {}).setdefault(file, []).append(self.name)
        return True

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],  # What was raised
        style: Any = None,  # Of a traceback
    ) -> Any:  # A text, or what pytest makes of an exception
        "Show a difference, or a mistake, without the code that found it."
        from cdc_local.errors import PipelineError
        from cdc_local.unit_tests.check import UnitTestFailure

        if isinstance(excinfo.value, (UnitTestFailure, PipelineError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:  # File, line counted from 0, name
        "Say where the test stands."
        return self.path, max(self.test.location.line - 1, 0), self.name


@pytest.fixture
def pipeline_settings() -> Mapping[str, Any]:  # Key -> value
    """Say which pipeline `pipeline` is, with the keys of `pipeline:` in a file of unit tests; paths begin at
    the file of the test. By default the one that lies beside the tests is found."""
    return {}


@pytest.fixture
def pipeline(
    request: pytest.FixtureRequest,  # Of the test
    tmp_path: Path,  # A folder of its own
    pipeline_settings: Mapping[str, Any],  # Which pipeline
) -> "PipelineUnderTest":
    "The pipeline beside the tests, with tables of its own: rows arrive, updates run, tables are read."
    from cdc_local.unit_tests.pipeline import PipelineUnderTest
    from cdc_local.unit_tests.settings import settings_from

    settings = settings_from(pipeline_settings, request.path, request.config.rootpath)
    told = partial(request.node.add_report_section, "call", "update")
    return PipelineUnderTest(settings, tmp_path, on_told=told)
