"A pipeline's update as a process: the options of `cdc run` that its settings become."

import pytest

from cdc_local.errors import UsageError
from cdc_local.jobs.paths import FolderPaths
from cdc_local.jobs.pipeline_task import UpdateOptions, list_pipeline_sources, update_program
from cdc_local.storage import Storage

PIPELINE = {
    "name": "orders",
    "catalog": "dev",
    "schema": "shop",
    "root_path": ".",
    "libraries": [{"glob": {"include": "transformations/**"}}],
    "configuration": {"shop.day": "2"},
    "environment": {"dependencies": ["dist/shop-1-py3-none-any.whl", "packaging>=20"]},
}


@pytest.fixture
def paths(tmp_path):
    return FolderPaths(Storage(tmp_path / "cdc"), tmp_path / "clone")


def words(pipeline, options, paths):
    "Arguments of `cdc`, with paths as a reader would write them."
    command = update_program(pipeline, options, paths).command
    arguments = command[command.index("run") :]
    return [word.replace(f"{paths.root.parent}/", "") for word in arguments]


def test_settings_of_a_pipeline_become_options_of_cdc_run(paths):
    assert words(PIPELINE, UpdateOptions(full_refresh=True), paths) == [
        *("run", "clone/transformations/**"),
        *("--storage", "cdc"),
        *("--catalog", "dev"),
        *("--schema", "shop"),
        *("--name", "orders"),
        *("--format", "json"),
        *("--conf", "shop.day=2"),
        *("--wheel", "clone/dist/shop-1-py3-none-any.whl"),
        *("--root-path", "clone"),
        "--full-refresh-all",
    ]


def test_a_pipeline_that_says_nothing_writes_to_main_default(paths):
    pipeline = {"libraries": [{"file": {"path": "orders.py"}}]}
    assert words(pipeline, UpdateOptions(), paths) == [
        *("run", "clone/orders.py"),
        *("--storage", "cdc"),
        *("--catalog", "main"),
        *("--schema", "default"),
        *("--name", "pipeline"),
        *("--format", "json"),
    ]


def test_an_older_pipeline_names_its_schema_target(paths):
    pipeline = {"target": "sales", "libraries": [{"file": {"path": "orders.py"}}]}
    arguments = words(pipeline, UpdateOptions(), paths)
    assert arguments[arguments.index("--schema") + 1] == "sales"


def test_chosen_tables_and_the_id_of_an_update_are_passed_on(paths):
    options = UpdateOptions("u1", refresh_selection=("orders",), full_refresh_selection=("items",))
    arguments = words(PIPELINE, options, paths)
    chosen = [arguments[arguments.index(word) + 1] for word in ("--refresh", "--full-refresh", "--update-id")]
    assert chosen == ["orders", "items", "u1"]
    assert "--full-refresh-all" not in arguments


def test_parameters_of_an_update_win_over_those_of_the_pipeline(paths):
    pipeline = PIPELINE | {"parameters": {"day": "1", "city": "Oslo"}}
    arguments = words(pipeline, UpdateOptions(parameters={"day": "2"}), paths)
    given = [after for word, after in zip(arguments, arguments[1:], strict=False) if word == "--param"]
    assert given == ["day=2", "city=Oslo"]


def test_a_continuous_pipeline_is_watched_and_an_update_of_a_workspace_waits_for_others(paths):
    continuous = words(PIPELINE | {"continuous": True}, UpdateOptions(output=("--quiet",)), paths)
    assert "--watch" in continuous and "--quiet" in continuous and "--format" not in continuous
    assert "--watch" not in words(PIPELINE | {"continuous": False}, UpdateOptions(), paths)
    assert "--wait-for-storage" in words(PIPELINE, UpdateOptions("u1"), paths)
    assert "--wait-for-storage" not in words(PIPELINE, UpdateOptions(), paths)


def test_an_update_that_only_validates_writes_nothing_but_its_events_and_ends(paths):
    validating = UpdateOptions("u1", validate_only=True)
    arguments = words(PIPELINE | {"continuous": True}, validating, paths)
    assert {"--dry-run", "--keep-events"} <= set(arguments) and "--watch" not in arguments
    assert not {"--dry-run", "--keep-events"} & set(words(PIPELINE, UpdateOptions("u1"), paths))


def test_sources_are_files_and_notebooks_found_without_their_suffix(paths):
    paths.root.mkdir()
    for name in ("etl.py", "items.sql"):
        (paths.root / name).write_text("")
    libraries = [
        {"file": {"path": "orders.py"}},
        {"notebook": {"path": "etl"}},
        {"notebook": {"path": "items"}},
    ]
    sources = list_pipeline_sources({"libraries": libraries}, paths)
    assert sources == [str(paths.root / name) for name in ("orders.py", "etl.py", "items.sql")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"libraries": []}, "pipeline orders has no libraries; name its source files"),
        (
            {"libraries": [{"jar": "x.jar"}]},
            "pipeline orders: a library of kind jar is not supported by the local runner;"
            " it has glob, file and notebook",
        ),
        ({"environment": {"dependencies": ["no-such-thing"]}}, "pip install 'no-such-thing'"),
    ],
)
def test_a_pipeline_that_cannot_be_updated_is_refused(paths, changes, message):
    with pytest.raises(UsageError) as refused:
        update_program(PIPELINE | changes, UpdateOptions(), paths)
    assert message in str(refused.value)
