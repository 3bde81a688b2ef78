"""What the events of an update say of it: its state, its flows, its rules, its datasets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cdc_local.pages.event_cache import LoggedEvent, LoggedUpdate
from cdc_local.reports.update import FlowState
from cdc_utils.results import ENDED_UPDATE_STATES, ExpectationCount

# Of what it fills, where a log does not say what is declared
_KIND_OF_FLOW = {"complete": "materialized_view", "view": "view"}

_KIND_WORDS = {
    "streaming_table": "streaming table",
    "materialized_view": "materialized view",
    "view": "view",
    "sink": "sink",
    "table": "table",
    "outside": "not of this pipeline",
}


@dataclass
class DatasetSummary:
    "What an update has to do with a table, a view or a sink."

    name: str  # In full
    kind: str  # One of `_KIND_WORDS`
    inputs: set[str] = field(default_factory=set)  # What it reads, by name
    flows: list[FlowState] = field(default_factory=list)  # What fills it
    rules: list[ExpectationCount] = field(default_factory=list)  # How its rules were kept
    definitions: list[dict[str, Any]] = field(default_factory=list)  # Of its flows, as events have them

    @property
    def words(self) -> str:
        "What it is."
        return _KIND_WORDS.get(self.kind, self.kind)

    @property
    def status(self) -> str:
        "The status of its flows: one that failed tells, then one that runs."
        statuses = {flow.status for flow in self.flows}
        order = ("FAILED", "RUNNING", "STARTING", "PLANNING", "STOPPED", "SKIPPED", "QUEUED", "COMPLETED")
        return next((status for status in order if status in statuses), "")

    @property
    def rows(self) -> int | None:
        "Rows that its flows wrote."
        return _total(flow.rows() for flow in self.flows)

    @property
    def read(self) -> int | None:
        "Rows that its flows read."
        return _total(flow.read for flow in self.flows)

    @property
    def upserted(self) -> int | None:
        "Events of AUTO CDC that inserted or updated."
        return _total(flow.metrics.get("num_upserted_rows") for flow in self.flows)

    @property
    def deleted(self) -> int | None:
        "Events of AUTO CDC that deleted."
        return _total(flow.metrics.get("num_deleted_rows") for flow in self.flows)

    @property
    def dropped(self) -> int:
        "Rows that rules dropped."
        return sum(flow.dropped for flow in self.flows)

    @property
    def failed(self) -> int:
        "Rows that broke a rule, counted once a rule."
        return sum(rule.failed_records for rule in self.rules)

    @property
    def auto_cdc(self) -> dict[str, Any]:
        "Keys, sequence and SCD type of an AUTO CDC target; empty for others."
        found = (one.get("declared", {}).get("auto_cdc") for one in self.definitions)
        return next(filter(None, found), {})

    def seconds(
        self,
        now: datetime,  # Clock for flows that run
    ) -> float | None:
        "How long its flows ran, from the first start to the last end."
        starts = [flow.started for flow in self.flows if flow.started]
        ends = [flow.ended or now for flow in self.flows if flow.started]
        return max((max(ends) - min(starts)).total_seconds(), 0) if starts else None


@dataclass
class UpdateSummary:
    "What an update did, or does."

    update_id: str  # Identifies it
    pipeline: str  # Name of the pipeline
    state: str  # RUNNING, COMPLETED …; KILLED where its process is gone; empty for another command
    started: datetime  # Of its first event
    ended: datetime | None  # Of its last one; None while it runs
    flows: dict[str, FlowState]  # By name
    rules: list[ExpectationCount]  # Of the whole update
    datasets: dict[str, DatasetSummary]  # What fills what, in no order
    problems: list[LoggedEvent]  # Warnings and errors
    last_message: str  # What its last event says
    full_refresh: bool = False  # Whether it computed all anew

    @property
    def is_running(self) -> bool:
        "Whether more will come."
        return self.ended is None

    @property
    def is_update(self) -> bool:
        "Whether a pipeline ran: `cdc replay` and the like write to the log, too."
        return bool(self.state)

    @property
    def rows_in(self) -> int | None:
        "Rows that came from outside the pipeline."
        first = [flow for flow in self.flows.values() if not self._reads_own(flow.dataset)]
        return _total(flow.read for flow in first)

    @property
    def rows_out(self) -> int | None:
        "Rows that all flows wrote."
        return _total(flow.rows() for flow in self.flows.values())

    @property
    def dropped(self) -> int:
        "Rows that rules dropped."
        return sum(flow.dropped for flow in self.flows.values())

    @property
    def broken_rules(self) -> list[ExpectationCount]:
        "Rules that rows broke."
        return [rule for rule in self.rules if rule.failed_records]

    def seconds(
        self,
        now: datetime,  # Clock for one that runs
    ) -> float:
        "How long it took."
        return max(((self.ended or now) - self.started).total_seconds(), 0)

    def _reads_own(self, dataset: str) -> bool:
        known = self.datasets.get(dataset)
        return bool(known and any(self.datasets[name].kind != "outside" for name in known.inputs))


def _total(numbers: Iterable[int | None]) -> int | None:
    "Add up; None where there is no number."
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def summarize_update(
    update: LoggedUpdate,  # With its events
) -> UpdateSummary:
    "Read what the events of an update say."
    flows = _read_flows(update.events)
    rules = _read_rules(update.events)
    state = _read_state(update)
    has_ended = state in (*ENDED_UPDATE_STATES, "KILLED", "")
    created = next((event for event in update.events if event.event_type == "create_update"), None)
    return UpdateSummary(
        update.update_id,
        str(update.events[0].origin.get("pipeline_name") or ""),
        state,
        update.events[0].timestamp,
        update.events[-1].timestamp if has_ended else None,
        flows,
        rules,
        _read_datasets(update.events, flows, rules),
        [event for event in update.events if event.level != "INFO"],
        update.events[-1].message,
        bool(created and created.facts("create_update").get("full_refresh")),
    )


def _read_state(update: LoggedUpdate) -> str:
    "The newest state; empty for what is no update."
    states = [
        event.facts("update_progress").get("state")
        for event in update.events
        if event.event_type == "update_progress"
    ]
    begun = any(event.event_type == "create_update" for event in update.events)
    state = next((str(state) for state in reversed(states) if state), "QUEUED" if begun else "")
    return "KILLED" if state and state not in ENDED_UPDATE_STATES and update.was_killed else state


def _read_flows(events: Iterable[LoggedEvent]) -> dict[str, FlowState]:
    "Add up what events say of each flow."
    flows: dict[str, FlowState] = {}
    for event in events:
        name = event.origin.get("flow_name")
        if not name or event.event_type not in ("flow_definition", "flow_progress"):
            continue
        flow = flows.setdefault(name, FlowState(name, event.origin.get("dataset_name") or ""))
        if event.event_type == "flow_progress":
            flow.add(event.raw)
    return flows


def _read_rules(events: Iterable[LoggedEvent]) -> list[ExpectationCount]:
    "Add up how often each rule held."
    totals: dict[tuple[str, str], list[int]] = {}
    for event in events:
        quality = event.facts("flow_progress").get("data_quality") or {}
        for rule in quality.get("expectations") or ():
            counts = totals.setdefault((str(rule["dataset"]), str(rule["name"])), [0, 0])
            counts[0] += rule.get("passed_records") or 0
            counts[1] += rule.get("failed_records") or 0
    return [ExpectationCount(*key, *counts) for key, counts in totals.items()]


def _read_datasets(
    events: Iterable[LoggedEvent],
    flows: dict[str, FlowState],
    rules: Iterable[ExpectationCount],
) -> dict[str, DatasetSummary]:
    "Put together what fills what: tables, the views between them, and what is read from outside."
    found: dict[str, DatasetSummary] = {}
    for event in events:
        if event.event_type == "flow_definition":
            _add_flow(found, event)
    for flow in flows.values():
        if flow.dataset:
            found.setdefault(flow.dataset, DatasetSummary(flow.dataset, "table")).flows.append(flow)
    for rule in rules:
        found.setdefault(rule.dataset, DatasetSummary(rule.dataset, "view")).rules.append(rule)
    for name in [name for dataset in found.values() for name in dataset.inputs]:
        found.setdefault(name, DatasetSummary(name, "outside"))
    return found


def _add_flow(
    found: dict[str, DatasetSummary],  # Takes what a flow fills, and the views that it reads
    event: LoggedEvent,  # A `flow_definition`
) -> None:
    definition = event.facts("flow_definition")
    name = str(definition.get("output_dataset") or event.origin.get("dataset_name") or "")
    declared = definition.get("declared") or {}
    of_flow = _KIND_OF_FLOW.get(event.message.rsplit(" ", 1)[-1].rstrip("."), "streaming_table")
    dataset = found.setdefault(name, DatasetSummary(name, declared.get("kind") or of_flow))
    if definition not in dataset.definitions:
        dataset.definitions.append(definition)
    views = declared.get("views") or {}
    reads = set(map(str, definition.get("input_datasets") or ()))
    # a flow is said to read what its views read, since it runs their queries: the way leads through the view
    behind = {inner for view in views.values() for inner in view.get("input_datasets") or ()}
    dataset.inputs |= reads - behind
    for view, told in views.items():
        summary = found.setdefault(view, DatasetSummary(view, told.get("kind") or "view"))
        of_view = set(told.get("input_datasets") or ())
        nested = {inner for one in of_view & views.keys() for inner in views[one].get("input_datasets") or ()}
        summary.inputs |= of_view - nested
        if not summary.definitions:
            summary.definitions.append({"declared": told})


def now() -> datetime:
    "Read the clock."
    return datetime.now(UTC)


def numbered_rules(
    dataset: DatasetSummary,  # Has rules
) -> Iterator[tuple[ExpectationCount, dict[str, Any]]]:  # Each with its declaration; empty in an older log
    "Pair counts of rules with what the rules say."
    declared = {
        rule["name"]: rule
        for definition in dataset.definitions
        for rule in definition.get("declared", {}).get("expectations") or ()
    }
    for rule in dataset.rules:
        yield rule, declared.get(rule.name, {})
