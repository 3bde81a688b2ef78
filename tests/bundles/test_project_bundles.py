"The project's bundles, as far as they can be judged without a workspace, and mistakes put into them."

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from databricks.bundles.jobs import Job
from databricks.bundles.pipelines import Pipeline
from databricks.bundles.schemas import Schema
from databricks.bundles.volumes import Volume

from cdc_local.bundles.bundle import User, load_bundle, read_bundle_files
from cdc_local.bundles.check import bundle_problems
from cdc_utils.settings import read

ROOT = Path(__file__).parents[2]
BUNDLES = {name: ROOT / "bundles" / name for name in ("foundation", "app")}
TARGETS = ("dev", "staging", "prod")
TYPES = {"jobs": Job, "pipelines": Pipeline, "schemas": Schema, "volumes": Volume}
RESOURCES = {
    "foundation": {("schemas", "customers_schema"), ("volumes", "dlt_wheel_volume"), ("volumes", "raw_data")},
    "app": {("pipelines", "dlt_wheel_pipeline"), ("jobs", "dlt_wheel_job")},
}
USER = User("ann.smith@example.org")
each_bundle = pytest.mark.parametrize("name", BUNDLES)
each_target = pytest.mark.parametrize("target", TARGETS)


def load(name, target, **variables):
    return load_bundle(BUNDLES[name], target, variables, USER, environ={})


def job(target):
    return load("app", target).resources("jobs")["dlt_wheel_job"]


def pipeline(target):
    return load("app", target).resources("pipelines")["dlt_wheel_pipeline"]


def strings(value):
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@each_bundle
def test_nothing_is_wrong_in_any_target(name):
    assert tuple(read_bundle_files(BUNDLES[name]).values["targets"]) == TARGETS
    assert bundle_problems(BUNDLES[name], environ={}) == []


@each_bundle
@each_target
def test_databricks_own_types_accept_every_resource(name, target):
    bundle = load(name, target)
    found = {(kind, key) for kind in TYPES for key in bundle.resources(kind)}
    assert found == RESOURCES[name]
    for kind, key in found:
        TYPES[kind].from_dict(bundle.resources(kind)[key])


@each_bundle
def test_every_variable_is_described_and_used(name):
    text = "\n".join(
        path.read_text() for path in [*BUNDLES[name].rglob("*.yml"), ROOT / "bundles/shared/variables.yml"]
    )
    top, shared = (
        read_bundle_files(BUNDLES[name]).values["variables"],
        read_bundle_files(BUNDLES["foundation"]).values["variables"],
    )
    assert all(declared.get("description") for declared in top.values())
    everywhere = "\n".join(path.read_text() for path in (ROOT / "bundles").rglob("*.yml"))
    used = set(re.findall(r"\$\{var\.(\w+)\}", everywhere))
    assert set(top) - set(shared) <= set(re.findall(r"\$\{var\.(\w+)\}", text)) and set(top) <= used


@each_target
def test_both_bundles_mean_the_same_place(target):
    schema, made = load("foundation", target).resources("schemas")["customers_schema"], pipeline(target)
    assert (schema["catalog_name"], schema["name"]) == (made["catalog"], made["schema"])
    assert (
        load("app", target)
        .settings.values["workspace"]["artifact_path"]
        .startswith(f"/Volumes/{made['catalog']}/{made['schema']}/dlt_wheel_volume/")
    )


@each_target
def test_no_place_is_written_into_a_resource(target):
    "Other values for the variables leave nothing of the usual ones"
    other = dict(
        default_catalog="zz_cat",
        default_schema="zz_schema",
        wheel_volume="zz_wheels",
        raw_volume="zz_raw",
        service_principal="zz-principal",
        operators_group="zz-operators",
        readers_group="zz-readers",
        wheel_name="zz-1-py3-none-any.whl",
        alert_email="zz@example.org",
    )
    usual = [
        load("foundation", target).resources("schemas")["customers_schema"]["name"],
        "dlt_wheel_volume",
        "/Volumes/" + target,
        "data-operators",
        "data-readers",
        "cdc_utils-",
        "00000000-0000-4000-8000-000000000000",
    ]

    def elsewhere(name):
        return load(
            name,
            target,
            **{
                key: value
                for key, value in other.items()
                if key in read_bundle_files(BUNDLES[name]).values["variables"]
            },
        ).settings.values

    found = [
        text
        for name in BUNDLES
        for part in ("resources", "permissions", "run_as", "workspace")
        for text in strings(elsewhere(name).get(part))
    ]
    assert "zz_cat" in found and not [text for text in found if any(each in text for each in usual)]
    assert not any(re.search(r"https?://(?!127\.)|profile", text) for text in found)


@each_target
def test_mock_data_and_triggers(target):
    parameters = {each["name"]: each["default"] for each in job(target)["parameters"]}
    assert parameters["mock"] == ("true" if target == "dev" else "false"), (
        "invented customers belong in dev alone"
    )
    presets = load("app", target).settings.values["presets"]
    assert (
        presets["trigger_pause_status"] == ("UNPAUSED" if target == "prod" else "PAUSED")
        and "pause_status"
        not in read_bundle_files(BUNDLES["app"]).values["resources"]["jobs"]["dlt_wheel_job"]["schedule"]
    )


@each_target
def test_production_belongs_to_a_service_principal(target):
    said = load("app", target).settings.values
    if target == "dev":
        assert said["mode"] == "development" and "run_as" not in said
    else:
        assert said["mode"] == "production" and set(said["run_as"]) == {"service_principal_name"}
        assert [each["level"] for each in said["permissions"]] == ["CAN_MANAGE"] * 2


@each_target
def test_both_environments_hold_exactly_the_built_wheel(target):
    wheel = f"../../../dist/{re.search(r'default: (.*)', (BUNDLES['app'] / 'wheel.yml').read_text())[1]}"
    assert pipeline(target)["environment"]["dependencies"] == [wheel]
    assert job(target)["environments"][0]["spec"]["dependencies"][0] == wheel
    assert {each["name"]: each["default"] for each in job(target)["parameters"]}["wheel"].endswith(
        Path(wheel).name
    )


@each_target
def test_the_pipeline_gets_what_its_settings_read(target):
    made = pipeline(target)
    assert (
        read(made["configuration"]).raw_path
        == f"/Volumes/{made['catalog']}/{made['schema']}/raw_data/customers"
    )


def parameters_read_by(notebook):
    "Names that a notebook gives to `job.parameters({…})`."
    cells = json.loads((ROOT / f"nbs/explorations/{notebook}.ipynb").read_text())["cells"]
    source = next(text for text in ("".join(cell["source"]) for cell in cells) if "job.parameters(" in text)
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    call = next(call for call in calls if ast.unparse(call.func) == "job.parameters")
    return {key.value for key in call.args[0].keys}


@each_target
def test_every_parameter_of_the_job_is_read_by_a_notebook(target):
    asked = parameters_read_by("data_creation") | parameters_read_by("exploration")
    given = {each["name"]: each["default"] for each in job(target)["parameters"]}
    assert set(given) - {"wheel"} <= asked
    assert [given[name] for name in ("catalog", "schema", "raw_volume")] == list(
        pipeline(target)["configuration"].values()
    )


@each_target
def test_somebody_hears_of_a_job_that_fails_or_takes_long(target):
    made = job(target)
    assert [rule["metric"] for rule in made["health"]["rules"]] == ["RUN_DURATION_SECONDS"] and made[
        "health"
    ]["rules"][0]["value"] < made["timeout_seconds"]
    mail = load("app", target).settings.values["resources"]["jobs"]["dlt_wheel_job"]["email_notifications"]
    assert (
        mail["on_failure"] == mail["on_duration_warning_threshold_exceeded"] and "@" in mail["on_failure"][0]
    )
    assert pipeline(target)["notifications"][0]["email_recipients"] == mail["on_failure"]


def test_the_tasks_run_in_order():
    tasks = job("dev")["tasks"]
    assert [
        (task["task_key"], [need["task_key"] for need in task.get("depends_on", [])]) for task in tasks
    ] == [
        ("dlt_data_creation", []),
        ("dlt_data_exploration", ["dlt_data_creation"]),
        ("run_dlt_pipeline", ["dlt_data_exploration"]),
    ]


def test_nothing_that_is_synced_shadows_the_wheel():
    bundle = load("app", "dev")
    synced = [
        bundle.local_path("sync", "paths", place)
        for place in range(len(bundle.settings.values["sync"]["paths"]))
    ]
    package = ROOT / "cdc_utils"
    assert synced and not any(
        path == package or path in package.parents or package in path.parents for path in synced
    )


FAULTS = {  # what is put in -> (file, old text, new text, the problem)
    "a dangling reference": (
        "app/resources/dlt_wheel.job.yml",
        "resources.pipelines.dlt_wheel_pipeline.id",
        "resources.pipelines.dlt_pipeline.id",
        "refers to no resource of this bundle",
    ),
    "a variable that nobody declared": (
        "app/resources/dlt_wheel.job.yml",
        "${var.max_bad}",
        "${var.max_bda}",
        "${var.max_bda} refers to nothing",
    ),
    "an unknown depends_on": (
        "app/resources/dlt_wheel.job.yml",
        "- task_key: dlt_data_creation\n          environment_key: default\n          notebook_task:\n"
        "            notebook_path: ../../../nbs/explorations/exploration",
        "- task_key: dlt_data_kreation\n          environment_key: default\n          notebook_task:\n"
        "            notebook_path: ../../../nbs/explorations/exploration",
        "depends on dlt_data_kreation, which is no task",
    ),
    "an empty glob": (
        "app/resources/dlt_wheel.pipeline.yml",
        "../../../transformations/**",
        "../../../transformation/**",
        "matches no source file",
    ),
    "a bad cron": ("app/resources/dlt_wheel.job.yml", '"0 0 5 * * ?"', '"0 5 * * *"', "has 5 fields"),
    "a live trigger in dev": (
        "app/resources/dlt_wheel.job.yml",
        "        timezone_id: UTC",
        "        timezone_id: UTC\n        pause_status: UNPAUSED",
        "runs in mode development",
    ),
    "a key in two kinds": (
        "app/resources/dlt_wheel.pipeline.yml",
        "    dlt_wheel_pipeline:\n",
        "    dlt_wheel_job:\n",
        "the resource dlt_wheel_job is there already",
    ),
    "permissions without the deployer": (
        "app/databricks.yml",
        "      - service_principal_name: ${var.service_principal}\n        level: CAN_MANAGE\n",
        "",
        "is CAN_MANAGE; the deployer would lose the right",
    ),
    "a wrong scalar": (
        "app/resources/dlt_wheel.job.yml",
        "timeout_seconds: 7200",
        'timeout_seconds: "2 hours"',
        "'2 hours' is not a whole number",
    ),
    "an unknown field": (
        "app/resources/dlt_wheel.pipeline.yml",
        "serverless: true",
        "serverles: true",
        "has no field 'serverles'; did you mean serverless?",
    ),
    "an enum's wrong value": (
        "app/resources/dlt_wheel.job.yml",
        "performance_target: STANDARD",
        "performance_target: FAST",
        "'FAST' is none of",
    ),
    "a notebook that is not there": (
        "app/resources/dlt_wheel.job.yml",
        "explorations/exploration.ipynb",
        "explorations/explorations.ipynb",
        "there is no notebook",
    ),
    "a folder to sync that is not there": (
        "app/databricks.yml",
        "- ../../transformations\n",
        "- ../../transform\n",
        "there is no folder ../../transform to sync",
    ),
    "an environment that is not there": (
        "app/resources/dlt_wheel.job.yml",
        "- environment_key: default\n          spec",
        "- environment_key: main\n          spec",
        "the job has no environment_key 'default'",
    ),
    "an included file that is not there": (
        "app/databricks.yml",
        "- resources/*.yml",
        "- resources/app.yml",
        "there is no file resources/app.yml to include",
    ),
    "a stray line": (
        "app/resources/dlt_wheel.pipeline.yml",
        "resources:\n",
        "resources:\nstray\n",
        "mend the YAML",
    ),
    "a wheel that nothing builds": (
        "app/databricks.yml",
        "    path: ../..\n",
        "    path: ../../nbs\n",
        "no artifact builds it",
    ),
    "a target without a value": (
        "app/databricks.yml",
        "      default_catalog: prod\n",
        "",
        "variable default_catalog has no value for target prod",
    ),
    "no run_as": ("foundation/databricks.yml", "    run_as: *runner\n", "", "has no run_as"),
    "a field that is missing": (
        "foundation/resources/storage.yml",
        "      volume_type: MANAGED\n      comment: Raw",
        "      comment: Raw",
        None,
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_mistake_is_seen_at_its_line(what, tmp_path):
    for folder in ("bundles", "transformations", "nbs/explorations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file, old, new, told = FAULTS[what]
    path = tmp_path / "bundles" / file
    assert path.read_text().count(old) >= 1
    path.write_text(path.read_text().replace(old, new, 1))
    problems = bundle_problems(tmp_path / "bundles" / file.split("/")[0], environ={})
    if told is None:
        return None  # volume_type may be left out: no problem, and no false alarm
    assert any(told in problem.message for problem in problems), problems
    found = next(problem for problem in problems if told in problem.message)
    assert (
        Path(found.location.rsplit(":", 1)[0]).resolve().is_relative_to(tmp_path)
        and found.location.rsplit(":", 1)[1].isdigit()
    )


def test_the_command_tells_problems_and_its_status(tmp_path):
    cdc = [Path(sys.executable).with_name("cdc"), "bundle", "check"]
    good = subprocess.run(cdc, cwd=ROOT, capture_output=True, text=True)
    assert (good.returncode, good.stdout) == (0, "no problem in bundles/app, bundles/foundation\n"), (
        good.stdout + good.stderr
    )
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles")
    bad = subprocess.run(cdc, cwd=tmp_path, capture_output=True, text=True)
    assert (
        bad.returncode == 1
        and "bundles/app/resources/dlt_wheel.pipeline.yml:" in bad.stdout
        and "Traceback" not in bad.stderr
    )
    none = subprocess.run(cdc, cwd=tmp_path / "bundles/shared", capture_output=True, text=True)
    assert none.returncode == 2 and "--bundle DIR" in none.stderr


def test_gitlab_accepts_its_file():
    command = [
        Path(sys.executable).with_name("check-jsonschema"),
        "--builtin-schema",
        "vendor.gitlab-ci",
        "--data-transform",
        "gitlab-ci",
        ROOT / ".gitlab-ci.yml",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_targets_that_share_a_workspace_share_no_name_of_a_pipeline():
    prefixes = [
        load("app", target).settings.values["presets"]["name_prefix"] for target in ("staging", "prod")
    ]
    assert prefixes == ["[staging] ", "[prod] "]
    assert not [one for one in bundle_problems(BUNDLES["app"]) if "calls a" in one.message]
