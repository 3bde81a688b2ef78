"""`cdc prove`: does a pipeline's outcome depend on its events alone?

Feeds are generated from its declarations and delivered in different orders and batches; then the tables are
compared. The steps, a file each: `prove_survey` finds what the pipeline reads, `prove_feeds` makes events for
it, `prove_deliveries` delivers them in several ways, `prove_outcomes` reads and compares the tables,
`prove_laws` judges, `prove_shrinking` finds a small counterexample.
"""

import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cdc_local.dataflow.graph import Flow
from cdc_local.errors import UsageError
from cdc_local.operations.prove_deliveries import Trial, make_deliveries, play_delivery, write_probes
from cdc_local.operations.prove_feeds import Event, make_feed, read_feed
from cdc_local.operations.prove_laws import (
    Finding,
    check_content_laws,
    check_history_law,
    check_order_laws,
)
from cdc_local.operations.prove_outcomes import read_outcome
from cdc_local.operations.prove_survey import Input, Survey, flows_behind, survey_pipeline
from cdc_local.update.request import UpdateRequest, update_session


def prove_laws(
    request: UpdateRequest,  # The pipeline; its storage is read only for tables that others make
    runs: int = 1,  # Deliveries of each manner
    events: int = 300,  # Events of the feed, about
    seed: int = 0,  # The same number gives the same feed and deliveries
    feed: Path | None = None,  # JSON lines of the user instead of a feed made up
    report: Callable[[str], None] = lambda line: None,  # Receives lines of progress
) -> list[Finding]:
    """Try every law on a pipeline; `UsageError` where no feed can be made, `PipelineError` where the pipeline
    fails on it."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="cdc-prove-") as name:
        folder = Path(name)
        survey = survey_pipeline(request, folder / "survey")
        flows, inputs, findings = choose_flows(survey)
        trial = Trial(request, survey, inputs, flows, folder, report)
        write_probes(trial)
        with update_session(replace(request, dry_run=True)) as spark:
            if feed:
                feed_events = read_feed(feed, inputs, flows[0].cdc_spec.keys)
            else:
                feed_events = make_feed(spark, survey, flows, inputs, events, draw)
        return findings + _try_laws(trial, feed_events, runs, draw)


def choose_flows(
    survey: Survey,  # The pipeline
) -> tuple[
    list[Flow], list[Input], list[Finding]
]:  # AUTO CDC flows to try, their inputs, findings for those left out
    "Choose the flows that a feed reaches; `UsageError` if there is none."
    flows: list[Flow] = []
    inputs: list[Input] = []
    left_out: list[Finding] = []
    for flow in survey.graph.flows.values():
        if flow.kind != "auto_cdc":
            continue
        own_inputs = [
            source for name in flows_behind(survey, flow.name) for source in survey.inputs.get(name, ())
        ]
        beside = [
            other.name
            for other in survey.graph.flows.values()
            if other.target == flow.target and other.is_from_snapshots
        ]
        if flow.once or beside or not own_inputs:
            why = "no feed can be made: its stream starts at no folder of a volume and no table"
            if flow.once:
                why = f"flow {flow.name} runs once, over what is there then"
            elif beside:
                why = f"flow {beside[0]} writes snapshots to it, and of these there is no feed"
            left_out.append(Finding("all", flow.target.table, "not applicable", 0, why))
        else:
            flows.append(flow)
            inputs = list(dict.fromkeys([*inputs, *own_inputs]))
    if flows:
        return flows, inputs, left_out
    reasons = "; ".join(f"{finding.table}: {finding.why}" for finding in left_out)
    raise UsageError(f"nothing to prove: {reasons or 'the pipeline has no AUTO CDC flow'}")


def _try_laws(
    trial: Trial,  # The pipeline
    events: list[Event],  # The feed in order
    runs: int,  # Deliveries of each manner
    draw: random.Random,  # Source of chance
) -> list[Finding]:
    """Play the feed in order and in every other manner, and compare the tables; `UsageError` for a table that
    no row reaches."""
    trial.positions = {event: position for position, event in enumerate(events)}
    in_order = play_delivery(trial, [events])
    played = {
        law: [(delivery, play_delivery(trial, delivery)) for delivery in deliveries]
        for law, deliveries in make_deliveries(events, runs, draw).items()
    }
    findings = []
    for target in dict.fromkeys(flow.target for flow in trial.flows):
        before = read_outcome(in_order, target, trial.keys_of(target))
        if not before:
            raise UsageError(
                f"no row of the feed reached {target}: the rules on its way refuse them all",
                hint="--feed DIR takes files of your own",
            )
        findings += check_order_laws(trial, target, before, played)
        findings += check_content_laws(trial, target, before, in_order, events)
    return findings + check_history_law(trial, in_order)
