"Pipelines, their updates and events, as the SDK asks for them"

import pytest
from databricks.sdk.errors import DatabricksError, InvalidParameterValue, NotFound, ResourceConflict
from databricks.sdk.service import pipelines
from served_workspace import SOON, USER


def test_the_newest_update_is_told_first(w, running):
    pipeline = w.pipelines.create(name="etl").pipeline_id
    ids = []
    for _ in range(3):
        ids.append(w.pipelines.start_update(pipeline).update_id)
        running.workspace.work.wait("updates", ids[-1])
    assert (
        [each.update_id for each in w.pipelines.get(pipeline).latest_updates]
        == [each.update_id for each in w.pipelines.list_updates(pipeline).updates]
        == ids[::-1]
    )
    listed = w.pipelines.list_updates(pipeline, until_update_id=ids[1]).updates
    assert [each.update_id for each in listed] == ids[:0:-1]
    page = w.pipelines.list_updates(pipeline, max_results=2)
    rest = w.pipelines.list_updates(pipeline, page_token=page.next_page_token)
    assert [each.update_id for each in (*page.updates, *rest.updates)] == ids[::-1]


def test_pipelines(w, work):
    made = w.pipelines.create(
        name="etl",
        catalog="main",
        schema="shop",
        serverless=True,
        libraries=[pipelines.PipelineLibrary(glob=pipelines.PathPattern(include="/Workspace/x/**"))],
    )
    with pytest.raises(ResourceConflict, match="already used by another pipeline"):
        w.pipelines.create(name="etl")
    w.pipelines.update(made.pipeline_id, name="etl", catalog="main", schema="market")
    got = w.pipelines.get(made.pipeline_id)
    assert (got.spec.schema, got.spec.id, got.state.value, got.creator_user_name) == (
        "market",
        made.pipeline_id,
        "IDLE",
        USER,
    )
    assert [each.name for each in w.pipelines.list_pipelines(filter="name LIKE 'e%'")] == [
        "etl"
    ] and not list(w.pipelines.list_pipelines(filter="name LIKE 'x%'"))
    update = w.pipelines.start_update(made.pipeline_id, full_refresh=True).update_id
    assert work.began.acquire(timeout=60)
    w.pipelines.wait_get_pipeline_idle(made.pipeline_id, timeout=SOON)
    found = w.pipelines.get_update(made.pipeline_id, update).update
    assert (found.state.value, found.full_refresh, found.cause.value) == ("COMPLETED", True, "API_CALL")
    assert (found.config.name, found.config.schema, found.mode.value) == ("etl", "market", "DEFAULT")
    assert [each.update_id for each in w.pipelines.list_updates(made.pipeline_id).updates] == [update]
    w.pipelines.delete(made.pipeline_id)
    with pytest.raises(NotFound, match="was not found"):
        w.pipelines.get(made.pipeline_id)


def test_a_failed_update_has_an_error_event(w, work, running):
    made = w.pipelines.create(name="etl").pipeline_id
    update = w.pipelines.start_update(made, full_refresh_selection=["orders"]).update_id
    running.workspace.work.wait("updates", update)
    assert w.pipelines.get_update(made, update).update.state.value == "FAILED"
    events = list(
        w.pipelines.list_pipeline_events(
            made, filter=f"update_id = '{update}' AND level = 'ERROR'", max_results=1
        )
    )
    assert [
        (each.event_type, each.error.exceptions[0].message, each.origin.pipeline_id) for each in events
    ] == [("update_progress", "no such table", made)]
    with pytest.raises(InvalidParameterValue, match="filter"):
        list(w.pipelines.list_pipeline_events(made, filter="message LIKE 'x'"))


def test_updates_of_a_storage_take_turns(w, work):
    "The second waits, is canceled while it waits, and a third goes on when the first has ended."
    work.may_end.clear()
    ids = [w.pipelines.create(name=name).pipeline_id for name in ("one", "two", "three")]
    updates = [w.pipelines.start_update(each).update_id for each in ids]

    def state(number):
        return w.pipelines.get_update(ids[number], updates[number]).update.state.value

    assert work.began.acquire(timeout=60)
    assert [state(number) for number in range(3)] == [
        "RUNNING",
        "WAITING_FOR_RESOURCES",
        "WAITING_FOR_RESOURCES",
    ]
    with pytest.raises(ResourceConflict, match="active update"):
        w.pipelines.start_update(ids[0])
    w.pipelines.stop(ids[1]).result(timeout=SOON)
    work.may_end.set()
    for each in ids:
        w.pipelines.wait_get_pipeline_idle(each, timeout=SOON)
    assert [state(number) for number in range(3)] == ["COMPLETED", "CANCELED", "COMPLETED"] and work.done == [
        "one",
        "three",
    ]


def test_a_start_that_is_not_run_here_is_refused_and_not_ignored(w):
    made = w.pipelines.create(name="elsewhere").pipeline_id
    with pytest.raises(DatabricksError, match="reset_checkpoint_selection: not run in this workspace"):
        w.pipelines.start_update(made, reset_checkpoint_selection=["orders_flow"])
    assert not w.pipelines.list_updates(made).updates
