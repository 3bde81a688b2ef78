"`cdc bundle`: which bundle is meant, what a check prints, how a job's run is shown."

import json

import pytest
from typed_commands import typed

from cdc_local.cli.bundle import choose_bundle, find_bundles
from cdc_local.errors import UsageError


@pytest.fixture
def project(tmp_path):
    "A folder with two bundles."
    for name in ("app", "base"):
        folder = tmp_path / "project" / "bundles" / name
        folder.mkdir(parents=True)
        (folder / "databricks.yml").write_text(
            f"bundle: {{name: {name}}}\n"
            "targets: {dev: {mode: development}}\n"
            f"resources: {{jobs: {{{name}_job: {{name: x, tasks: []}}}}}}\n"
        )
    return tmp_path / "project"


def test_bundles_are_found_here_and_below(project, tmp_path):
    bundles = project / "bundles"
    assert find_bundles(project) == [bundles / "app", bundles / "base"]
    assert find_bundles(bundles / "app") == [bundles / "app"]
    with pytest.raises(UsageError, match="--bundle DIR names its folder"):
        find_bundles(tmp_path / "none")


def test_the_bundle_that_declares_the_key_is_chosen(project):
    bundles = project / "bundles"
    assert choose_bundle("base_job", None, project) == bundles / "base"
    assert choose_bundle("other_job", bundles / "app", project) == bundles / "app"
    message = "no bundle here has a job or a pipeline 'other_job'; there are app_job, base_job"
    with pytest.raises(UsageError, match=message):
        choose_bundle("other_job", None, project)
    text = (bundles / "app" / "databricks.yml").read_text()
    (bundles / "base" / "databricks.yml").write_text(text)
    with pytest.raises(UsageError, match="2 bundles here have 'app_job': .*; --bundle DIR names one"):
        choose_bundle("app_job", None, project)


def test_a_check_prints_problems_and_fails_where_there_are_any(project):
    folder = project / "bundles" / "app"

    def check(*words):
        return typed("bundle", "check", str(folder), *words)

    found = check()
    assert (found.exit_code, found.stdout) == (
        1,
        f"{folder / 'databricks.yml'}:3: the job has no tasks (target dev)\n",
    )
    done = check("--format", "json")
    assert done.exit_code == 1 and "the job has no tasks" in json.dumps(json.loads(done.stdout))
    wrong = check("--var", "colour")
    assert (wrong.exit_code, wrong.stderr) == (2, "error: --var 'colour' is not name=value\n")


def test_a_check_of_one_target_or_of_all(project):
    folder = project / "bundles" / "app"
    targets = "{dev: {mode: development}, prod: {mode: production}}"
    (folder / "databricks.yml").write_text(f"bundle: {{name: app}}\ntargets: {targets}\n")
    statuses = [
        typed("bundle", "check", str(folder), "--target", target).exit_code for target in ("dev", "prod")
    ]
    assert statuses == [0, 1], "production names no run_as"
    (folder / "databricks.yml").write_text("bundle: {name: app}\ntargets: {dev: {mode: development}}\n")
    done = typed("bundle", "check", str(folder))
    assert done.exit_code == 0 and done.stdout.startswith("no problem in ")


HELLO = """bundle: {name: app}
targets: {dev: {mode: development}}
resources:
  jobs:
    hello:
      name: hello
      parameters: [{name: whom, default: world}]
      tasks:
        - task_key: greet
          spark_python_task: {python_file: greet.py, parameters: ['{{job.parameters.whom}}']}
        - task_key: leave
          depends_on: [{task_key: greet}]
          spark_python_task: {python_file: leave.py}
"""


@pytest.fixture
def run(storage, tmp_path):
    "Type `cdc bundle run` over a bundle with a job of two tasks."
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "databricks.yml").write_text(HELLO)
    (folder / "greet.py").write_text('import sys; print("hello", sys.argv[1])')
    (folder / "leave.py").write_text("")

    def bundle_run(*words):
        options = ("--bundle", str(folder), "--storage", str(storage.root))
        return typed("bundle", "run", *words, *options)

    bundle_run.folder = folder
    return bundle_run


def test_a_job_that_fails_names_the_task(run):
    (run.folder / "leave.py").write_text('raise SystemExit("error: nobody may leave")')
    failed = run("hello", "--param", "whom=Ann", "--quiet")
    assert (failed.exit_code, failed.stdout, failed.stderr) == (1, "", "error: leave: nobody may leave\n")


def test_a_job_is_shown_as_json_and_for_the_eye(run):
    changes = [json.loads(line) for line in run("hello", "--format", "json").stdout.splitlines()]
    ended = [(change["task_key"], change["result"]) for change in changes if change["result"]]
    assert ended == [("greet", "SUCCESS"), ("leave", "SUCCESS")]
    text = run("hello").stdout
    assert "hello world" in text and "Job hello is SUCCESS." in text


@pytest.mark.parametrize(
    "words, message",
    [
        (["hello", "--refresh", "x"], "hello is a job; --refresh and --full-refresh are for pipelines"),
        (["helo"], "has no job or pipeline 'helo'; did you mean hello?"),
        (["hello", "--param", "who=x"], "job hello has no parameter 'who'; it has whom"),
        (["hello", "--target", "prod"], "no target 'prod' in this bundle; it has dev"),
    ],
)
def test_wrong_use_runs_nothing(run, words, message):
    wrong = run(*words)
    assert wrong.exit_code == 2 and message in wrong.stderr
