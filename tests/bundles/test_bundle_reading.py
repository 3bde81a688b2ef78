"A bundle as it is read: its files, the line of each value, targets, variables, references."

from pathlib import Path

import pytest

from cdc_local.bundles.bundle import (
    User,
    apply_development_mode,
    apply_target,
    choose_target,
    included_files,
    load_bundle,
    read_bundle_files,
    variable_values,
)
from cdc_local.bundles.located_values import BundleError, LocatedValues, read_yaml
from cdc_local.bundles.references import References
from cdc_local.errors import Location, UsageError

TOP = """
bundle:
  name: shop
include:
  - shared/*.yml
  - resources/*.yml
targets:
  dev:
    mode: development
    default: true
    variables:
      default_catalog: dev
  prod:
    mode: production
    variables: {default_catalog: prod}
    resources:
      jobs:
        daily:
          timeout_seconds: 600
"""
VARIABLES = """
variables:
  default_catalog:
    description: Catalog of the tables
  suffix:
    default: ""
  raw_path:
    default: /Volumes/${var.default_catalog}/shop/raw
"""
JOB = """
resources:
  jobs:
    daily:
      name: daily${var.suffix}
      timeout_seconds: 7200
      tasks:
        - task_key: load
          notebook_task:
            notebook_path: ../etl/load.ipynb
"""
TIMEOUT = ("resources", "jobs", "daily", "timeout_seconds")
NOTEBOOK = ("resources", "jobs", "daily", "tasks", 0, "notebook_task", "notebook_path")


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def folder(write, tmp_path):
    "A bundle of three files."
    write("databricks.yml", TOP)
    write("shared/variables.yml", VARIABLES)
    write("resources/orders.job.yml", JOB)
    return tmp_path


@pytest.fixture
def yaml(write):
    "Read a text as a file of that name."
    return lambda text, name="a.yml": read_yaml(write(name, text), name)


# YAML, and where each value stands


def test_values_are_plain_and_know_their_lines(yaml):
    job = yaml(JOB, "orders.job.yml")
    task = {"task_key": "load", "notebook_task": {"notebook_path": "../etl/load.ipynb"}}
    daily = {"name": "daily${var.suffix}", "timeout_seconds": 7200, "tasks": [task]}
    assert job.values == {"resources": {"jobs": {"daily": daily}}}
    assert type(job.part(*TIMEOUT).values) is int
    assert [str(job.location(*path)) for path in (TIMEOUT, NOTEBOOK)] == [
        "orders.job.yml:6",
        "orders.job.yml:10",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: 1\na: 2",
            'a.yml:2: found duplicate key "a" with value "2" (original value: "1"); mend the YAML',
        ),
        ("a: [1", "a.yml:1: expected ',' or ']', but got '<stream end>'; mend the YAML"),
        ("a: 1\n b: 2", "a.yml:2: mapping values are not allowed here; mend the YAML"),
        ("1: x", "a.yml:1: the key 1 is no text; put it in quotes"),
    ],
)
def test_broken_yaml_is_refused_at_its_line(yaml, tmp_path, text, expected):
    with pytest.raises(BundleError) as refused:
        yaml(text)
    assert str(refused.value).replace(f"{tmp_path}/", "") == expected


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(BundleError, match="there is no such file"):
        read_yaml(tmp_path / "none.yml")
    (tmp_path / "bytes.yml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(BundleError, match="it is no text"):
        read_yaml(tmp_path / "bytes.yml")


def test_an_empty_file_says_nothing(yaml, folder, write):
    assert yaml("").values == {}
    write("resources/empty.yml", "# later\n")
    assert load_bundle(folder, "dev", environ={}).name == "shop"


# Files put together


def test_later_values_decide_and_entries_with_names_are_put_together(yaml):
    earlier = yaml(
        "tasks: [{task_key: load, timeout_seconds: 60, max_retries: 1}, {task_key: report}]\nname: daily",
        "job.yml",
    )
    later = yaml("tasks:\n- task_key: load\n  timeout_seconds: 600\nname: nightly", "target.yml")
    both = earlier.overlay(later)
    assert both.values == {
        "tasks": [
            {"task_key": "load", "timeout_seconds": 600, "max_retries": 1},
            {"task_key": "report"},
        ],
        "name": "nightly",
    }
    assert str(both.location("tasks", 0, "timeout_seconds")) == "target.yml:3"
    assert str(both.location("tasks", 1, "task_key")) == "job.yml:1"
    assert str(both.location("name")) == "target.yml:4"


def test_a_value_that_is_not_there_stands_where_the_nearest_thing_around_it_does(yaml):
    job = yaml("name: daily\ntasks: [{task_key: report}]", "job.yml")
    assert str(job.location("tasks", 0, "timeout_seconds")) == "job.yml:2"
    assert job.part("tasks", 0, "timeout_seconds").values is None
    assert job.part("tasks", 7).values is None


def test_lists_without_names_are_replaced():
    earlier, later = (
        LocatedValues({"libraries": [{"file": "a"}]}),
        LocatedValues({"libraries": [{"file": "b"}]}),
    )
    assert earlier.overlay(later).values == {"libraries": [{"file": "b"}]}


def test_a_bundle_is_read_with_the_files_it_includes(folder):
    assert sorted(read_bundle_files(folder).values) == [
        *("bundle", "include", "resources", "targets", "variables")
    ]


def test_a_folder_without_a_bundle_is_refused(folder):
    with pytest.raises(UsageError, match="there is no databricks.yml; --bundle DIR names its folder"):
        read_bundle_files(folder / "resources")


def test_an_included_file_that_is_not_there_is_refused_at_its_line(folder):
    with pytest.raises(BundleError, match=r"databricks.yml:4: there is no file jobs.yml to include"):
        included_files(folder, "jobs.yml", Location("databricks.yml", 4))


def test_a_pattern_of_includes_may_match_nothing(folder):
    assert included_files(folder, "jobs/*.yml", Location("databricks.yml", 4)) == []


def test_an_include_may_climb_out_of_the_bundle(folder):
    (folder / "app").mkdir()
    found = included_files(folder / "app", "../shared/*.yml", Location("databricks.yml", 4))
    assert found == [(folder / "shared/variables.yml").resolve()]


def test_a_resource_that_is_declared_twice_is_refused_whatever_its_kind(folder, write):
    write("resources/later.yml", "resources:\n  pipelines:\n    daily: {}\n")
    with pytest.raises(BundleError) as refused:
        load_bundle(folder, "dev", environ={})
    assert str(refused.value).replace(f"{folder}/", "") == (
        "resources/orders.job.yml:4: the resource daily is there already, at resources/later.yml:3;"
        " give each resource a key of its own, whatever its kind"
    )


# A target


def test_a_target_says_anew_what_it_needs(folder):
    prod = apply_target(read_bundle_files(folder), "prod")
    assert (prod.values["mode"], prod.values["bundle"]) == ("production", {"name": "shop", "target": "prod"})
    assert (prod.part(*TIMEOUT).values, prod.location(*TIMEOUT).line) == (600, 19)
    assert prod.values["resources"]["jobs"]["daily"]["name"] == "daily${var.suffix}"


@pytest.mark.parametrize(
    ("targets", "chosen"),
    [
        ({"dev": {}, "prod": {"default": True}}, "prod"),
        ({"dev": {}}, "dev"),
        ({}, "default"),
    ],
    ids=["the default", "the only one", "none"],
)
def test_the_target_is_chosen_where_none_is_named(targets, chosen):
    assert choose_target(LocatedValues({"targets": targets}), None) == chosen


def test_a_target_that_cannot_be_chosen_is_refused(folder):
    with pytest.raises(UsageError, match="no target 'production' in this bundle; it has dev, prod"):
        choose_target(read_bundle_files(folder), "production")
    expected = r"0 targets of this bundle are the default; name one: --target dev\|prod"
    with pytest.raises(UsageError, match=expected):
        choose_target(LocatedValues({"targets": {"dev": {}, "prod": {}}}), None)


# Variables


def values_of(folder, target, command_line=None, environ=None, overrides="none.json"):
    declared = read_bundle_files(folder)
    return variable_values(declared, target, command_line or {}, environ or {}, folder / overrides).values


def test_a_variable_has_the_value_of_the_target_else_of_its_declaration(folder):
    assert values_of(folder, "prod") == {
        "default_catalog": "prod",
        "suffix": "",
        "raw_path": "/Volumes/${var.default_catalog}/shop/raw",
    }


def test_the_command_line_wins_over_the_environment_and_that_over_the_file_of_overrides(folder, write):
    write("overrides.json", '{"suffix": "_file", "default_catalog": "file"}')
    environ = {"BUNDLE_VAR_suffix": "_env"}
    command_line = values_of(folder, "dev", {"suffix": "_cli"}, environ, "overrides.json")
    environment = values_of(folder, "dev", {}, environ, "overrides.json")
    assert command_line["suffix"] == "_cli"
    assert (environment["suffix"], environment["default_catalog"]) == ("_env", "file")


MORE_TARGETS = """targets: {
  new: {variables: {default_catalog: new, suffix: {default: _new}}},
  bare: {mode: development},
  odd: {variables: {colour: red}}}
"""


def test_a_target_may_declare_a_variable_anew(folder, yaml):
    declared = read_bundle_files(folder).overlay(yaml(MORE_TARGETS, "more.yml"))
    assert variable_values(declared, "new", {}, {}, Path("none")).values["suffix"] == "_new"


@pytest.mark.parametrize(
    ("target", "command_line", "message"),
    [
        (
            "new",
            {"sufix": "x"},
            "no variable 'sufix' in this bundle; it has default_catalog, suffix, raw_path",
        ),
        ("bare", {}, "variable default_catalog has no value for target bare; give it a default"),
        ("odd", {}, "more.yml:4: no variable 'colour' is declared"),
    ],
)
def test_a_variable_without_a_declaration_or_a_value_is_refused(folder, yaml, target, command_line, message):
    declared = read_bundle_files(folder).overlay(yaml(MORE_TARGETS, "more.yml"))
    with pytest.raises(UsageError) as refused:
        variable_values(declared, target, command_line, {}, Path("none"))
    assert message in str(refused.value)


# References

HERE = Location("job.yml", 3)


@pytest.fixture
def references():
    pipelines = {"orders": {"name": "orders${var.suffix}", "clusters": [{"num_workers": 2}]}}
    variables = {"suffix": "_7", "limit": 5, "paused": True, "a": "${var.b}", "b": "${var.a}"}
    return References(LocatedValues({"resources": {"pipelines": pipelines}}), {"var": variables})


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("${var.limit}", 5),
        ("at most ${var.limit}: ${var.paused}", "at most 5: true"),
        ("${variables.limit.value}", 5),
        ("${resources.pipelines.orders.name}", "orders_7"),
        ("${resources.pipelines.orders.id}", "${resources.pipelines.orders.id}"),
        ({"limits": ["${var.limit}"]}, {"limits": [5]}),
    ],
    ids=["number", "in a text", "long form", "resource", "known after a deployment", "inside"],
)
def test_a_reference_becomes_what_it_names(references, value, filled):
    assert references.fill(value, HERE) == filled


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${var.limt}", "job.yml:3: ${var.limt} refers to nothing; variables are suffix, limit"),
        ("${bundel.name}", "job.yml:3: ${bundel.name} refers to nothing; there are var, resources"),
        ("${resources.jobs.orders.id}", "refers to no resource of this bundle"),
        ("${resources.pipelines.orders.colour}", "has no field colour"),
        ("${var.a}", "refers to itself; var.a -> var.b -> var.a"),
    ],
)
def test_a_reference_to_nothing_is_refused_where_it_stands(references, value, message):
    with pytest.raises(BundleError) as refused:
        references.fill(value, HERE)
    assert message in str(refused.value) and refused.value.location == HERE


def test_a_reference_to_nothing_in_a_file_is_refused_at_its_line(folder, write):
    write("resources/later.yml", "resources:\n  jobs:\n    later:\n      name: ${var.nmae}\n")
    with pytest.raises(BundleError) as refused:
        load_bundle(folder, "dev", environ={})
    assert str(refused.value).replace(f"{folder}/", "") == (
        "resources/later.yml:4: ${var.nmae} refers to nothing;"
        " variables are default_catalog, suffix, raw_path"
    )


# The bundle of one target


def test_a_bundle_is_filled_in_for_its_target_and_its_user(folder):
    bundle = load_bundle(folder, "dev", {"suffix": "_7"}, User("ann.smith@example.org"), environ={})
    assert (bundle.name, bundle.target, bundle.mode) == ("shop", "dev", "development")
    assert bundle.resources("jobs")["daily"]["name"] == "daily_7"
    assert bundle.resources("volumes") == {}
    workspace = bundle.settings.values["workspace"]
    assert workspace["file_path"] == "/Workspace/Users/ann.smith@example.org/.bundle/shop/dev/files"
    assert workspace["current_user"] == {
        "userName": "ann.smith@example.org",
        "short_name": "ann_smith",
        "domain_friendly_name": "ann-smith",
    }


def test_a_path_counts_from_the_file_that_names_it(folder):
    bundle = load_bundle(folder, "dev", environ={})
    assert bundle.local_path(*NOTEBOOK) == folder / "etl/load.ipynb"


def test_a_bundle_may_say_where_it_goes(write):
    text = "bundle: {name: own}\nworkspace: {root_path: /Shared/own}\ntargets: {dev: {}}"
    own = load_bundle(write("own/databricks.yml", text).parent, environ={})
    assert own.settings.values["workspace"]["file_path"] == "/Shared/own/files"


def test_a_bundle_without_a_name_is_refused(write):
    folder = write("nameless/databricks.yml", "bundle: {}\ntargets: {dev: {}}").parent
    with pytest.raises(BundleError, match="databricks.yml:1: the bundle has no name"):
        load_bundle(folder, environ={})


def test_development_pauses_triggers_and_marks_pipelines():
    jobs = {"night": {"schedule": {}}, "day": {"schedule": {"pause_status": "UNPAUSED"}}}
    settings = LocatedValues({"resources": {"jobs": jobs, "pipelines": {"orders": {}}}})
    apply_development_mode(settings)
    assert [jobs[key]["schedule"]["pause_status"] for key in ("night", "day")] == ["PAUSED", "UNPAUSED"]
    assert settings.values["resources"]["pipelines"] == {"orders": {"development": True}}
