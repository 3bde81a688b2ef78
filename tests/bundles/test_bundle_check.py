"Mistakes of a bundle that can be seen without a workspace, each at its line."

import pytest

from cdc_local.bundles.bundle import User
from cdc_local.bundles.check import (
    bundle_problems,
    cron_error,
    pattern_matches,
    type_errors,
    walk_values,
)
from cdc_local.bundles.field_types import resource_type
from cdc_local.errors import UsageError

TOP = """bundle: {name: shop}
include: [daily.yml]
sync:
  paths: [etl]
targets:
  dev: {mode: development}
  prod:
    mode: production
    permissions: [{group_name: readers, level: CAN_VIEW}]
"""
DAILY = """resources:
  jobs:
    daily:
      name: daily
      schedule:
        quartz_cron_expression: 0 5 * * *
        timezone_id: Europe/Bern
        pause_status: UNPAUSED
      tasks:
        - task_key: load
          notebook_task: {notebook_path: etl/load.ipynb}
        - task_key: report
          depends_on: [{task_key: laod}]
          max_retries: few
  pipelines:
    orders:
      name: orders
      libraries: [{glob: {include: transformations/**}}]
      environment: {dependencies: [dist/shop-1-py3-none-any.whl]}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "databricks.yml").write_text(TOP)
    (tmp_path / "daily.yml").write_text(DAILY)
    return tmp_path


def texts(problems, folder):
    return [str(problem).replace(f"{folder}/", "") for problem in problems]


# All of it


def test_every_mistake_is_found_at_its_line_and_told_once(folder):
    assert texts(bundle_problems(folder, environ={}), folder) == [
        "daily.yml:5: the schedule of daily runs in mode development;"
        " leave pause_status out, the target decides (target dev)",
        "daily.yml:6: '0 5 * * *' has 5 fields;"
        " Quartz wants second minute hour day month weekday, and may have a year (target dev)",
        "daily.yml:7: 'Europe/Bern' is no time zone (target dev)",
        "daily.yml:11: there is no notebook etl/load.ipynb (target dev)",
        "daily.yml:13: task report depends on laod, which is no task of the job; it has load, report"
        " (target dev)",
        "daily.yml:14: 'few' is not a whole number (target dev)",
        "daily.yml:18: transformations/** matches no source file; a pipeline without any makes no tables"
        " (target dev)",
        "daily.yml:19: there is no wheel dist/shop-1-py3-none-any.whl, and no artifact builds it"
        " (target dev)",
        "databricks.yml:4: there is no folder etl to sync (target dev)",
        "databricks.yml:7: target prod is production and has no run_as; name a service principal"
        " (target prod)",
        "databricks.yml:9: nobody of deployer@example.org is CAN_MANAGE;"
        " the deployer would lose the right to deploy (target prod)",
    ]


def test_only_the_named_targets_are_checked(folder):
    assert {problem.target for problem in bundle_problems(folder, ["prod"], environ={})} == {"prod"}
    with pytest.raises(UsageError, match="no target 'production' in this bundle; it has dev, prod"):
        bundle_problems(folder, ["production"], environ={})


def test_a_mistake_that_stops_the_reading_hides_all_others(folder):
    (folder / "daily.yml").write_text('resources: {jobs: {daily: {name: "${var.name}"}}}')
    problem = bundle_problems(folder, environ={})[0]
    assert (problem.message, problem.line) == ("${var.name} refers to nothing; variables are ", 1)


SECOND = """bundle: {name: second}
artifacts: {shop: {path: build}}
targets:
  prod:
    mode: production
    run_as: {service_principal_name: robot}
    permissions: [{user_name: ann@example.org, level: CAN_MANAGE}]
resources:
  jobs:
    daily:
      name: daily
      tasks:
        - task_key: load
          environment_key: default
          job_cluster_key: small
          notebook_task: {notebook_path: /Workspace/Shared/load}
          libraries: [{whl: build/dist/shop-1-py3-none-any.whl}, {whl: dist/shop-1-py3-none-any.whl}]
"""


def test_paths_of_the_workspace_and_wheels_that_an_artifact_builds_are_no_mistake(tmp_path):
    (tmp_path / "databricks.yml").write_text(SECOND)
    problems = bundle_problems(tmp_path, environ={})
    assert texts(problems, tmp_path) == [
        "databricks.yml:7: nobody of deployer@example.org, robot is CAN_MANAGE;"
        " the deployer would lose the right to deploy (target prod)",
        "databricks.yml:14: the job has no environment_key 'default' (target prod)",
        "databricks.yml:15: the job has no job_cluster_key 'small' (target prod)",
        "databricks.yml:17: there is no wheel dist/shop-1-py3-none-any.whl, and no artifact builds it"
        " (target prod)",
    ]
    assert bundle_problems(tmp_path, user=User("ann@example.org"), environ={}) == problems[1:]


# What a resource may say


def job_errors(**settings):
    return [message for _, message in type_errors(resource_type("jobs"), settings, ())]


def test_all_that_is_wrong_in_a_resource_is_found_where_it_is():
    settings = {
        "name": "daily",
        "timeout_seconds": "two hours",
        "shedule": {},
        "queue": {"enabled": "perhaps"},
        "tasks": [{"task_key": "load", "run_if": "SOMETIMES", "notebook_task": {}}],
    }
    errors = type_errors(resource_type("jobs"), settings, ("daily",))
    assert {".".join(map(str, path)): message for path, message in errors} == {
        "daily.timeout_seconds": "'two hours' is not a whole number",
        "daily.shedule": "Job has no field 'shedule'; did you mean schedule?",
        "daily.queue.enabled": "'perhaps' is not true or false",
        "daily.tasks.0.run_if": "'SOMETIMES' is none of ALL_SUCCESS, ALL_DONE, NONE_FAILED,"
        " AT_LEAST_ONE_SUCCESS, ALL_FAILED, AT_LEAST_ONE_FAILED",
        "daily.tasks.0.notebook_task": "NotebookTask needs notebook_path",
    }


def test_databricks_types_of_four_kinds_are_known():
    assert all(resource_type(kind) for kind in ("jobs", "pipelines", "schemas", "volumes"))
    assert resource_type("apps") is None


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"name": "daily", "timeout_seconds": 7200, "tasks": [{"task_key": "load"}], "tags": {"a": "b"}}, []),
        ({"timeout_seconds": True}, ["True is not a whole number"]),
        ({"tasks": {"task_key": "load"}}, ["{'task_key': 'load'} is not a list"]),
        ({"tags": ["a"]}, ["['a'] is not a mapping"]),
        ({"schedule": "daily"}, ["'daily' is not a mapping"]),
        ({"timeout_seconds": "${resources.jobs.other.id}"}, []),  # only a deployment knows
        ({"timeout_seconds": None}, []),
    ],
)
def test_values_are_held_against_their_types(settings, messages):
    assert job_errors(**settings) == messages


# When a job runs


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 5 * * ?",
        "0 0 5 ? * MON-FRI",
        "0 0 5 LW * ? 2027",
        "0 0/15 8-17 ? * MON-FRI",
        "0 0 5 L * ?",
        "0 0 5 L-3 * ?",
        "0 0 5 15W * ?",
        "0 0 5 ? * 6#3",
        "0 0 5 ? * 6L",
        "0 0 5 ? * FRIL",
        "0 0 5 ? * L",
        "0 0 5 * * ? 2027-2030/2,2040",
    ],
)
def test_a_schedule_of_quartz_is_accepted(expression):
    assert cron_error(expression) is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 5 * * *", "has 5 fields; Quartz wants second minute hour day month weekday, and may have a year"),
        ("0 0 5 * * *", "one of day and weekday must be ?, and only one"),
        ("0 0 25 * * ?", "is no time at which anything could run"),
        ("0 0 5 * * ? soon", "'soon' is no year"),
        ("0 0 5 ? * 0", "is no time"),  # Sunday is 1
        ("0 0 5 ? * 0-5", "is no time"),
        ("0 0 5 40W * ?", "is no time"),
        ("0 0 5 32 * ?", "is no time"),
    ],
)
def test_a_schedule_that_quartz_refuses_is_a_mistake(expression, message):
    assert message in cron_error(expression)


# Paths


def test_every_value_is_walked_with_its_path():
    job = {
        "name": "daily",
        "tasks": [{"task_key": "load", "notebook_task": {"notebook_path": "../load.ipynb"}}],
    }
    assert dict(walk_values(job, ("jobs", "daily"))) == {
        ("jobs", "daily", "name"): "daily",
        ("jobs", "daily", "tasks", 0, "task_key"): "load",
        ("jobs", "daily", "tasks", 0, "notebook_task", "notebook_path"): "../load.ipynb",
    }


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("etl/**", True), ("etl/sql/*.sql", True), ("docs/**", False), ("none/**", False), ("etl", True)],
)
def test_a_pattern_matches_source_files_alone(tmp_path, pattern, matches):
    for name in ("etl/sql/orders.sql", "docs/readme.md"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    assert pattern_matches(tmp_path / pattern) is matches


def test_files_of_a_repository_are_not_looked_for(tmp_path):
    (tmp_path / "databricks.yml").write_text(
        "bundle: {name: linked}\nresources: {jobs: {linked: {name: linked,"
        " git_source: {git_url: 'https://git.example.org/shop.git', git_provider: gitLab},"
        " tasks: [{task_key: load, spark_python_task: {python_file: etl/load.py}}]}}}"
    )
    assert bundle_problems(tmp_path, environ={}) == []


# Names that a workspace has once

SHARED = """bundle: {name: shop}
resources:
  pipelines:
    orders: {name: orders, catalog: c, libraries: [{glob: {include: etl/**}}]}
    spare: {name: spare, allow_duplicate_names: true, libraries: [{glob: {include: etl/**}}]}
  jobs: {daily: {name: daily, tasks: []}}
  schemas: {sales: {catalog_name: "${var.catalog}", name: sales}}
  volumes: {raw: {catalog_name: c, schema_name: s, name: "raw_${bundle.target}"}}
variables: {catalog: {default: c}}
targets:
  dev: {mode: development}
  staging: {}
  prod: {}
"""


@pytest.mark.parametrize(
    "targets, clashes",
    [
        ("", ["pipeline orders", "schema c.sales"]),
        ("  prod: {presets: {name_prefix: '[prod] '}, variables: {catalog: d}}\n", []),
        ("  prod: {variables: {catalog: d}}\n", ["pipeline orders"]),
        (
            "  staging: {workspace: {host: https://a}}\n  prod: {workspace: {host: https://b}}\n",
            [],
        ),
        (
            "  staging: {workspace: {host: https://a}}\n  prod: {workspace: {host: https://a}}\n",
            ["pipeline orders", "schema c.sales"],
        ),
    ],
)
def test_names_that_two_targets_share_in_one_workspace_are_found(tmp_path, targets, clashes):
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl" / "p.py").write_text("")
    text = SHARED
    for name in ("staging", "prod"):
        if f"  {name}:" in targets:
            text = text.replace(f"  {name}: {{}}\n", "")
    (tmp_path / "databricks.yml").write_text(text + targets)
    found = [problem for problem in bundle_problems(tmp_path) if "calls a" in problem.message]
    assert [problem.message.split(" calls a ")[1].split(",")[0] for problem in found] == clashes
    assert all(problem.target == "prod" and "target staging calls" in problem.message for problem in found)
    if clashes:
        assert found[0].location.endswith("databricks.yml:4") and "name_prefix" in found[0].message


def test_one_target_alone_shares_nothing(tmp_path):
    (tmp_path / "databricks.yml").write_text(SHARED)
    assert not [one for one in bundle_problems(tmp_path, ["prod"]) if "calls a" in one.message]
