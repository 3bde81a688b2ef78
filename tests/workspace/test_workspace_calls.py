"Single calls, as the tables of calls answer them"

import base64

import pytest
from served_workspace import USER

from cdc_local.workspace.app import CALLS
from cdc_local.workspace.call import Call
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.local_workspace import Workspace

CATALOG = "/api/2.1/unity-catalog"


@pytest.fixture
def ask(storage):
    "Ask one workspace by method and path"
    workspace = Workspace(storage, USER)
    return lambda call, /, **values: CALLS[call](Call(workspace, values, values))


def test_a_notebook_in_source_form_gets_the_line_that_makes_it_one(ask):
    path = f"/Users/{USER}/look"
    content = base64.b64encode(b"print(1)").decode()
    ask("POST /api/2.0/workspace/import", path=path, language="PYTHON", content=content)
    found = ask("GET /api/2.0/workspace/get-status", path=path)
    assert (found["object_type"], found["path"]) == ("NOTEBOOK", f"/Workspace{path}")
    exported = ask("GET /api/2.0/workspace/export", path=found["path"])
    assert base64.b64decode(exported["content"]) == b"# Databricks notebook source\nprint(1)"
    ask("POST /api/2.0/workspace/delete", path=path)
    assert ask("GET /api/2.0/workspace/list", path=f"/Users/{USER}") == {"objects": []}


@pytest.mark.parametrize(
    "call, values, message",
    [
        ("POST /api/2.0/workspace/import", {"language": "PYTHON", "content": "%%"}, "content is not base 64"),
        (
            "POST /api/2.0/workspace/import",
            {"language": "COBOL", "content": ""},
            "language 'COBOL' of /Users is none of PYTHON, R, SCALA, SQL",
        ),
        ("POST /api/2.0/workspace/import", {"format": "DBC"}, "format 'DBC' is not known here"),
        ("GET /api/2.0/workspace/export", {}, "/Workspace/Users is a folder"),
    ],
)
def test_an_import_or_export_that_cannot_be_done_says_why(ask, call, values, message):
    with pytest.raises(CallError, match=message):
        ask(call, path="/Users", **values)


def test_the_catalog_answers_what_it_was_told(ask):
    ask(f"POST {CATALOG}/schemas", catalog_name="main", name="shop")
    ask(
        f"POST {CATALOG}/volumes",
        catalog_name="main",
        schema_name="shop",
        name="raw",
        volume_type="MANAGED",
    )
    grants = f"{CATALOG}/permissions/{{kind}}/{{name}}"
    changes = [{"principal": "readers", "add": ["SELECT"]}]
    ask(f"PATCH {grants}", kind="SCHEMA", name="main.shop", changes=changes)
    (assignment,) = ask(f"GET {grants}", kind="schema", name="main.shop")["privilege_assignments"]
    assert assignment == {"principal": "readers", "privileges": ["SELECT"]}
    volumes = ask(f"GET {CATALOG}/volumes", catalog_name="main", schema_name="shop")["volumes"]
    assert [volume["full_name"] for volume in volumes] == ["main.shop.raw"]
    with pytest.raises(CallError, match=r"Schema 'main\.other' does not exist\."):
        ask(f"GET {grants}", kind="schema", name="main.other")


def test_permissions_of_a_job_that_is_not_there_are_refused(ask):
    with pytest.raises(CallError, match=r"Job 7 does not exist\."):
        ask("GET /api/2.0/permissions/{kind}/{number}", kind="jobs", number="7")


def test_a_pipeline_can_be_tried_without_making_it(ask):
    assert ask("POST /api/2.0/pipelines", name="etl", dry_run=True) == {
        "effective_settings": {"name": "etl", "dry_run": True}
    }
    assert ask("GET /api/2.0/pipelines") == {"statuses": []}
