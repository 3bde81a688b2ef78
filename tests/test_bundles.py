"The bundles, as far as a YAML can be judged without a workspace: Databricks' own types accept them and every path exists"
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from databricks.bundles.jobs import Job
from databricks.bundles.pipelines import Pipeline
from databricks.bundles.schemas import Schema
from databricks.bundles.volumes import Volume

import cdc_utils

ROOT = Path(__file__).parents[1]
BUNDLES = {name: ROOT / "bundles" / name for name in ("foundation", "app")}
TYPES = {"jobs": Job, "pipelines": Pipeline, "schemas": Schema, "volumes": Volume}
DOMAIN = {"schemas": ("customers_schema",), "volumes": ("dlt_wheel_volume", "raw_data"), "pipelines": ("dlt_wheel_pipeline",), "jobs": ("dlt_wheel_job",)}


def load(path): return yaml.safe_load(path.read_text())


def bundle(name):
    "databricks.yml of a bundle with its resources and the variables that it may use"
    top = load(BUNDLES[name] / "databricks.yml")
    variables, resources = dict(top.get("variables", {})), {}
    for pattern in top["include"]:
        files = sorted(BUNDLES[name].glob(pattern)) if not pattern.startswith("..") else [BUNDLES[name] / pattern]
        assert files, f"{name}: {pattern} matches nothing"
        for file in files:
            part = load(file)
            variables |= part.get("variables", {})
            for kind, found in part.get("resources", {}).items():
                for key, value in found.items(): resources[kind, key] = (value, file)
    return top, variables, resources


def strings(value):
    if isinstance(value, dict): value = [*value, *value.values()]
    if isinstance(value, list): return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


ALL = {name: bundle(name) for name in BUNDLES}
RESOURCES = [(name, kind, key) for name in ALL for kind, key in ALL[name][2]]


@pytest.mark.parametrize("name,kind,key", RESOURCES)
def test_databricks_accepts_the_resource(name, kind, key):
    value, _ = ALL[name][2][kind, key]
    TYPES[kind].from_dict({field: part for field, part in value.items()})


def test_an_unknown_field_would_be_seen():
    value, _ = ALL["app"][2]["pipelines", "dlt_wheel_pipeline"]
    with pytest.raises(ValueError): Pipeline.from_dict({**value, "serverles": True})


def test_the_resources_have_their_names():
    found = {(kind, key) for name in ALL for kind, key in ALL[name][2]}
    assert found == {(kind, key) for kind, keys in DOMAIN.items() for key in keys}


@pytest.mark.parametrize("name", ALL)
def test_every_variable_is_declared_and_used(name):
    top, variables, resources = ALL[name]
    used = set(re.findall(r"\$\{var\.(\w+)\}", "\n".join(strings(top) + [text for value, _ in resources.values() for text in strings(value)])))
    assert used <= set(variables), f"{name}: not declared: {used - set(variables)}"
    assert all(declared.get("description") for declared in variables.values()), f"{name}: a variable without a description"
    assert set(top.get("variables", {})) <= used, f"{name}: declared and not used: {set(top.get('variables', {})) - used}"


@pytest.mark.parametrize("name", ALL)
def test_every_target_gives_what_has_no_default(name):
    top, variables, _ = ALL[name]
    required = {variable for variable, declared in variables.items() if "default" not in declared}
    for target, settings in top["targets"].items(): assert required <= set(settings["variables"]), f"{name}, {target}"


@pytest.mark.parametrize("target", ALL["app"][0]["targets"])
def test_both_bundles_mean_the_same_schema(target):
    places = [{key: ALL[name][0]["targets"][target]["variables"][key] for key in ("default_catalog", "default_schema")} for name in ALL]
    assert places[0] == places[1]


def test_only_dev_gets_mock_data():
    top, variables, _ = ALL["app"]
    assert variables["mock_data"]["default"] == "false"
    assert [target for target, settings in top["targets"].items() if settings["variables"].get("mock_data", "false") != "false"] == ["dev"]


def test_every_path_exists():
    for name, (top, _, resources) in ALL.items():
        for path in top.get("sync", {}).get("paths", []): assert (BUNDLES[name] / path).is_dir(), f"{name}: sync {path}"
        for value, file in resources.values():
            for path in [text for text in strings(value) if text.startswith("../") and "/dist/" not in text]:
                assert list(file.parent.glob(path)) if "*" in path else (file.parent / path).exists(), f"{file.name}: {path}"


def test_the_wheel_is_the_one_that_is_built():
    top, variables, resources = ALL["app"]
    assert variables["wheel_name"]["default"] == f"cdc_utils-{cdc_utils.__version__}-py3-none-any.whl", "name the new version in bundles/app/databricks.yml"
    wheel = "../../../dist/${var.wheel_name}"
    pipeline, job = resources["pipelines", "dlt_wheel_pipeline"][0], resources["jobs", "dlt_wheel_job"][0]
    assert wheel in pipeline["environment"]["dependencies"]
    assert wheel in job["environments"][0]["spec"]["dependencies"]


def test_nothing_that_is_synced_shadows_the_wheel():
    top, _, resources = ALL["app"]
    synced = [(BUNDLES["app"] / path).resolve() for path in top["sync"]["paths"]]
    package = ROOT / "cdc_utils"
    assert not any(path == package or path in package.parents or package in path.parents for path in synced)


def test_the_pipeline_gets_what_settings_reads():
    from cdc_utils.settings import read
    pipeline = ALL["app"][2]["pipelines", "dlt_wheel_pipeline"][0]
    job = ALL["app"][2]["jobs", "dlt_wheel_job"][0]
    given = {"default_catalog": "dev", "default_schema": "customers", "raw_volume": "raw_data"}
    filled = {key: given[value.removeprefix("${var.").removesuffix("}")] for key, value in pipeline["configuration"].items()}
    assert read(filled).raw_path == "/Volumes/dev/customers/raw_data/customers"
    parameters = {parameter["name"]: parameter["default"] for parameter in job["parameters"]}
    assert {key: parameters[key] for key in filled} == pipeline["configuration"]


def test_the_tasks_run_in_order_with_the_wheel():
    tasks = ALL["app"][2]["jobs", "dlt_wheel_job"][0]["tasks"]
    assert [task["task_key"] for task in tasks] == ["dlt_data_creation", "dlt_data_exploration", "run_dlt_pipeline"]
    assert [[need["task_key"] for need in task.get("depends_on", [])] for task in tasks] == [[], ["dlt_data_creation"], ["dlt_data_exploration"]]
    assert [task.get("environment_key") for task in tasks] == ["default", "default", None]


def test_gitlab_accepts_its_file():
    command = [Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", ROOT / ".gitlab-ci.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
