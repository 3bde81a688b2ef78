"Dynamic value references: which there are, where they may stand, and what of them is refused."

import pytest

from cdc_local.errors import UsageError
from cdc_local.jobs.reference_check import find_reference_mistakes
from cdc_local.jobs.references import fill_references, find_references


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{{job.id}}", ("job", "id")),
        ("{{ job.start_time.iso_date }}", ("job", "start_time", "iso_date")),
        ("{{job.trigger.time.timestamp_ms}}", ("job", "trigger", "time", "timestamp_ms")),
        ("{{job.trigger.file_arrival.location}}", ("job", "trigger", "file_arrival", "location")),
        ("{{backfill.iso_datetime}}", ("backfill", "iso_datetime")),
        ("{{tasks.load.values.rows}}", ("tasks", "load", "values", "rows")),
        ("{{tasks.`load-all`.values.`a.b c`}}", ("tasks", "load-all", "values", "a.b c")),
        ("{{tasks.ask.output.first_row.city}}", ("tasks", "ask", "output", "first_row", "city")),
        ("{{input}}", ("input",)),
        ("{{input.name}}", ("input", "name")),
        ("{{task_retry_count}}", ("task_retry_count",)),
    ],
)
def test_what_is_documented_is_read(text, parts):
    assert [reference.parts for reference in find_references(f"a {text} b")] == [parts]


@pytest.mark.parametrize("text", ["{{odd}}", "{{my.value}}", "{job.id}", "{{job.id}", "{{}}", "{{ | }}"])
def test_other_braces_are_text(text):
    assert fill_references(text, lambda reference: "filled") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{job.naem}}", "did you mean {{job.name}}?"),
        ("{{job.start_time.iso_dat}}", "did you mean {{job.start_time.iso_date}}?"),
        ("{{tasks.load.result}}", "did you mean {{tasks.<name>.result_state}}?"),
        ("{{workspace.host}}", "there are {{workspace.id}}, {{workspace.url}}"),
        ("{{task.values.x}}", "there are {{task.execution_count}}"),
        ("{{jobs.id}}", "did you mean job?"),
        ("{{tasks.load-all.run_id}}", "{{tasks.`my-task`.run_id}}"),
        ("{{input.a.b}}", "there are {{input}}, {{input.<name>}}"),
    ],
)
def test_what_begins_like_a_reference_and_is_none_is_refused_by_name(text, message):
    with pytest.raises(UsageError) as refused:
        find_references(text)
    assert str(refused.value).startswith(f"{text} is no dynamic value reference; ")
    assert message in str(refused.value)


def script(key, *parameters, **more):
    return {"task_key": key, "spark_python_task": {"python_file": "x.py", "parameters": parameters}, **more}


def mistakes(*tasks, parameters=()):
    job = {"tasks": list(tasks), "parameters": [*parameters, {"name": "day", "default": "1"}]}
    return list(find_reference_mistakes(job))


def after(*keys):
    return [{"task_key": key} for key in keys]


def test_a_task_may_ask_of_all_that_ended_before_it():
    look = {"task_key": "look", "notebook_task": {"notebook_path": "look"}}
    ask = {"task_key": "ask", "sql_task": {"file": {"path": "a.sql"}}, "depends_on": after("look")}
    last = script(
        "last",
        "{{tasks.look.values.x}}",
        "{{tasks.ask.output.rows}}",
        "{{job.parameters.day}}",
        depends_on=after("ask"),
    )
    last["spark_python_task"]["parameters"] = list(last["spark_python_task"]["parameters"])
    assert mistakes(look, ask, last) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{tasks.lok.run_id}}", "the job has no task 'lok'; it has look, last"),
        ("{{tasks.look.run_id}}", "it does not depend on look, which may end later; add a depends_on"),
        ("{{tasks.last.run_id}}", "it does not depend on last"),
        ("{{job.parameters.dya}}", "the job has no parameter 'dya'; it has day"),
        ("{{input}}", "stands outside the task of a for_each_task"),
        ("{{job.naem}}", "did you mean {{job.name}}?"),
    ],
)
def test_what_a_task_cannot_know_is_found_at_its_place(text, message):
    last = {"task_key": "last", "notebook_task": {"notebook_path": "x", "base_parameters": {"a": text}}}
    ((path, found),) = mistakes(script("look"), last)
    assert path == ("tasks", 1, "notebook_task", "base_parameters", "a")
    assert found.startswith(f"task last: {text}") and message in found


def test_only_a_sql_task_has_rows():
    ((_, found),) = mistakes(
        script("look"),
        {
            "task_key": "loop",
            "depends_on": after("look"),
            "for_each_task": {"inputs": "{{tasks.look.output.rows}}", "task": {"task_key": "one"}},
        },
    )
    assert "look is no sql_task, and only that has rows" in found


def test_the_task_of_a_loop_has_inputs_and_the_loop_itself_has_none():
    nested = {"task_key": "one", "notebook_task": {"notebook_path": "{{input.path}}"}}
    loop = {"task_key": "loop", "for_each_task": {"inputs": "{{input}}", "task": nested}}
    ((path, found),) = mistakes(loop)
    assert path == ("tasks", 0, "for_each_task", "inputs") and "{{input}} stands outside" in found


def test_a_parameter_of_the_job_knows_no_task():
    parameters = [{"name": "a", "default": "{{job.id}}"}, {"name": "b", "default": "{{tasks.look.run_id}}"}]
    ((path, found),) = mistakes(script("look"), parameters=parameters)
    assert path == ("parameters", 1, "default")
    assert "parameter b: {{tasks.look.run_id}} stands in a parameter of the job" in found
