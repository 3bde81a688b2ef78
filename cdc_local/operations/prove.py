"""Does a pipeline's outcome depend on its events alone? Generate feeds from its own declarations, deliver them in every manner, compare."""

import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.runtime import read_stored
from cdc_local.auto_cdc.target import Target, backing_properties, compute_rows, extract_events
from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations.prove_feeds import (
    Survey,
    deliveries,
    land_batch,
    made_feed,
    own_feed,
    survey_pipeline,
    upstream_of,
)
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest, update_session
from cdc_local.update.run import run_update
from cdc_utils import scd1, scd2

PROBE = "__proof_"  # Starts the name of a probe's table


@dataclass
class Trial:
    "What every delivery of a proof shares."

    request: UpdateRequest  # The pipeline
    found: Survey  # What it declares
    places: list  # Its inputs
    flows: list  # Its AUTO CDC flows that are looked at
    folder: Path  # A temporary folder
    tell: Callable[[str], None]  # Takes a line for every update
    updates: int = 0  # How many were run
    place_of: dict = field(default_factory=dict)  # Event -> its place in the feed

    def probes(self) -> dict:
        "Source name -> name of its probe."
        return {
            name: f"{PROBE}{number}"
            for number, name in enumerate(sorted({flow.spec.source for flow in self.flows}))
        }


def play_delivery(
    trial: Trial,  # The pipeline
    batches: list,  # Of events
) -> Storage:  # A storage of its own, with the tables as they are after the last update
    "Run the pipeline over a delivery in a new storage; `PipelineError` if an update fails."
    from shutil import copytree

    from deltalake import DeltaTable

    storage = Storage(Path(tempfile.mkdtemp(dir=trial.folder))).create()
    for name, path in trial.found.tables.items():
        copytree(path, storage.table_path(name))
    for place in trial.places:
        if place.file_format == "table":
            name = TableName.parse(place.place, "", "")
            DeltaTable.create(
                str(storage.table_path(name)),
                DeltaTable(str(Storage(trial.request.storage).table_path(name))).schema(),
            )
    behind = {name for flow in trial.flows for name in upstream_of(trial.found, flow.name)}
    wanted = {str(trial.found.graph.flows[name].target) for name in behind} | {
        f"{trial.request.catalog}.{trial.request.schema}.{name}" for name in trial.probes().values()
    }
    request = replace(
        trial.request,
        sources=(*trial.request.sources, str(trial.folder / "probes" / "probes.py")),
        storage=storage.root,
        refresh=tuple(sorted(wanted)),
    )
    for number, batch in enumerate(batches, 1):
        land_batch(storage, trial.places, batch, f"{number:03}")
        trial.updates += 1
        trial.tell(f"update {trial.updates}: {len(batch)} events, batch {number} of {len(batches)}")
        result = run_update(request)
        if result.state != "COMPLETED":
            raise PipelineError(
                f"the pipeline failed on a generated feed: {result.error}",
                hint="--feed DIR takes files of your own",
            )
    return storage


def write_probes(
    trial: Trial,  # The pipeline
) -> None:
    "Write the source file of the probes."
    lines = ["from pyspark import pipelines as dp"]
    for name, probe in trial.probes().items():
        lines += [
            f"@dp.table(name={probe!r})",
            f"def {probe.strip('_')}(): return spark.readStream.table({name!r})",
        ]
    (trial.folder / "probes").mkdir()
    (trial.folder / "probes" / "probes.py").write_text("\n".join(lines) + "\n")


def read_outcome(
    storage: Storage,  # After the last update
    name: TableName,  # A target
    keys: tuple,  # Its keys
) -> dict[tuple, list]:  # Key as text -> its rows as text, sorted
    "What readers see of a table, key by key."
    return group_by_key(read_table(storage, name).to_pylist(), keys)


def group_by_key(
    rows: list[dict],  # Rows of a table
    keys: tuple,  # Its keys
) -> dict[tuple, list]:  # Key as text -> its rows as JSON, sorted
    "Sort rows into their keys."
    found = defaultdict(list)
    for row in rows:
        spelt = {name.lower(): value for name, value in row.items()}
        found[tuple(str(spelt[key.lower()]) for key in keys)].append(
            json.dumps(row, default=str, ensure_ascii=False)
        )
    return {key: sorted(mine) for key, mine in found.items()}


def source_events(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> tuple[Target, DataFrame]:  # The target, and the events of its flows
    "All events that a target was fed with."
    with update_session(replace(trial.request, dry_run=True)) as spark:
        pass  # the session of this process
    target, events = None, None
    for flow in [flow for flow in trial.flows if flow.target == name]:
        probe = TableName(trial.request.catalog, trial.request.schema, trial.probes()[flow.spec.source])
        rows = read_stored(spark, storage.table_path(probe))
        target = Target.of(flow, rows.schema)
        told = extract_events(rows, target)
        events = told if events is None else events.unionByName(told, allowMissingColumns=True)
    return target, events


def reference_rows(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> dict[tuple, list]:  # As `outcome` gives it
    "What a target must be, from all its events at once."
    target, events = source_events(trial, storage, name)
    rows = compute_rows(events, target)
    told = backing_properties(target, "")

    def value(column):
        return (
            F.col(f"__latest.`{column}`").alias(column)
            if column in json.loads(told["cdc.latest"])
            else scd1.column(column)
        )

    shown = rows.where(told["cdc.visible"]).select(*map(value, json.loads(told["cdc.columns"])))
    return group_by_key(shown.toArrow().to_pylist(), target.keys)


def find_ties(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> list[str]:  # Two or more events of one key with one sequence, as JSON; empty where there are none
    "Different events that the sequence cannot tell apart."
    target, events = source_events(trial, storage, name)
    keys = [scd1.column(key) for key in target.keys]
    same = (
        events.distinct()
        .groupBy(*keys, scd1.SEQUENCE)
        .agg(F.sort_array(F.collect_list(F.to_json(F.struct("*")))).alias("rows"))
        .where(F.size("rows") > 1)
    )
    first = same.orderBy(F.size("rows"), F.col("rows")[0]).first()
    return list(first.rows) if first else []


class Finding(NamedTuple):
    "What became of one law for one table."

    law: str  # Its name
    table: str  # The target
    verdict: str  # 'holds', 'breaks' or 'not applicable'
    cases: int  # Deliveries compared
    why: str = ""  # Why it is not applicable, or what broke it
    events: tuple = ()  # Counterexample: batches of rows as JSON, in the order of arrival
    expected: tuple = ()  # Rows of the table, had it held
    found: tuple = ()  # Rows of the table as it is


def shrink_delivery(
    trial: Trial,  # The pipeline
    name: TableName,  # The table that differs
    batches: list,  # The delivery
    keys: list[tuple],  # Keys that differ
    expect: Callable,  # Events -> what the table should be
) -> tuple | None:  # Batches, expected and found rows; None if no key differs when it is alone
    "Find a small delivery that still breaks the law."
    spec = next(flow.spec for flow in trial.flows if flow.target == name)

    def restricted(keep):
        return [rows for rows in ([event for event in batch if keep(event)] for batch in batches) if rows]

    def breaks(batches):
        expected, found = expect(batches), read_outcome(play_delivery(trial, batches), name, spec.keys)
        wrong = describe_difference(expected, found)
        return (
            (
                batches,
                *[tuple(row for key in wrong for row in each.get(key, ())) for each in (expected, found)],
            )
            if wrong
            else None
        )

    def size(key):
        return sum(event.key == key for batch in batches for event in batch)

    smallest, reruns = None, 0
    for key in sorted((key for key in keys if size(key)), key=size)[:3] or [None]:
        smallest, reruns = breaks(restricted(lambda event: key is None or event.key == key)), reruns + 1
        if smallest:
            break
    while smallest:
        smaller = None
        for event in dict.fromkeys(event for batch in smallest[0] for event in batch):
            if reruns >= RERUNS or sum(map(len, smallest[0])) < 2:
                return smallest
            left = [
                rows for rows in ([each for each in batch if each != event] for batch in smallest[0]) if rows
            ]
            smaller, reruns = breaks(left) if left else None, reruns + 1
            if smaller:
                break
        if not smaller:
            return smallest
        smallest = smaller
    return smallest


RERUNS = 3  # Deliveries, at most, that are spent on making a counterexample smaller


def describe_difference(
    expected: dict,  # As `outcome` gives it
    found: dict,  # The same of another delivery
) -> list[tuple]:  # Keys whose rows differ
    "Compare two outcomes."
    return sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))


def broken_law(
    trial: Trial,  # The pipeline
    law: str,  # Its name
    name: TableName,  # The table
    cases: int,  # Deliveries compared
    batches: list,  # The delivery that broke it
    keys: list,  # Keys that differ
    expect: Callable,  # Batches -> what the table should be
) -> Finding:
    "Report a broken law with a small counterexample."
    trial.tell(f"{law} breaks for {name.table}: {len(keys)} keys differ; looking for the smallest story")
    small = shrink_delivery(trial, name, batches, keys, expect)
    if small is None:
        return Finding(
            law,
            name.table,
            "breaks",
            cases,
            f"{len(keys)} keys differ, none of them when it is alone: keys depend on each other, or on the clock",
        )
    rows = tuple(
        tuple(json.dumps(dict(event.row), ensure_ascii=False) for event in batch) for batch in small[0]
    )
    return Finding(law, name.table, "breaks", cases, f"{len(keys)} keys differ", rows, small[1], small[2])


LAWS = {
    "order": "shuffled, in one update",
    "batches": "in 2 to 8 updates, in any order",
    "repeats": "with 15 % copies, in 2 updates",
    "reference": "equal to the batch formulation over all events",
    "no ties": "one event per key and sequence",
    "current = open history": "SCD 1 equals the open rows of SCD 2",
}


def laws_of_order(
    trial: Trial,  # The pipeline
    name: TableName,  # A target
    before: dict,  # Its outcome of the feed in order
    played: dict,  # Law -> (batches, storage) of each delivery
) -> list[Finding]:
    "Compare every delivery with the one in order."
    spec, findings = next(flow.spec for flow in trial.flows if flow.target == name), []

    def in_order(batches):
        kept = sorted(dict.fromkeys(event for batch in batches for event in batch), key=trial.place_of.get)
        return read_outcome(play_delivery(trial, [kept]), name, spec.keys)

    for law, each in played.items():
        for number, (batches, storage) in enumerate(each, 1):
            keys = describe_difference(before, read_outcome(storage, name, spec.keys))
            if keys:
                break
        if keys and any(finding.verdict == "breaks" for finding in findings):
            findings.append(
                Finding(
                    law,
                    name.table,
                    "breaks",
                    number,
                    f"{len(keys)} keys differ; mend the law that has a counterexample first",
                )
            )
        else:
            findings.append(
                broken_law(trial, law, name, number, batches, keys, in_order)
                if keys
                else Finding(law, name.table, "holds", len(each))
            )
    return findings


def laws_of_content(
    trial: Trial,  # The pipeline
    name: TableName,  # A target
    before: dict,  # Its outcome of the feed in order
    storage: Storage,  # After that
    events: list,  # The feed in order
) -> list[Finding]:
    "Compare with the batch formulation, and look for ties."
    wrong = describe_difference(reference_rows(trial, storage, name), before)

    def expected(batches):
        return reference_rows(trial, play_delivery(trial, batches), name)

    found = [
        broken_law(trial, "reference", name, 1, [events], wrong, expected)
        if wrong
        else Finding("reference", name.table, "holds", 1)
    ]
    same = find_ties(trial, storage, name)
    why = f"{len(same)} events of one key have one sequence: here the greatest row wins, elsewhere any of them may"
    return found + [
        Finding("no ties", name.table, "breaks", 1, why, (tuple(same),), tuple(same), tuple(same[:-1]))
        if same
        else Finding("no ties", name.table, "holds", 1)
    ]


def law_of_pairs(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
) -> list[Finding]:
    "Compare each SCD 1 table with the open rows of an SCD 2 table of the same source and keys."
    law, findings = "current = open history", []
    current, histories = (
        [flow for flow in trial.flows if flow.spec.stored_as_scd_type == kind] for kind in (1, 2)
    )
    for flow in current:
        spec = flow.spec
        pairs = [
            each
            for each in histories
            if (each.spec.source, each.spec.keys, str(each.spec.sequence_by))
            == (spec.source, spec.keys, str(spec.sequence_by))
        ]
        if spec.apply_as_truncates is not None or not pairs:
            why = (
                "a history is not truncated"
                if spec.apply_as_truncates is not None
                else "no SCD 2 table has its source, keys and sequence"
            )
            findings.append(Finding(law, flow.target.table, "not applicable", 0, why))
            continue
        rows, history = (read_table(storage, each.target).to_pylist() for each in (flow, pairs[0]))
        shared = [name for name in (rows or [{}])[0] if name in (history or [{}])[0]]

        def part(each):
            return group_by_key([{name: row[name] for name in shared} for row in each], spec.keys)

        now, still = part(rows), part([row for row in history if row[scd2.END_AT] is None])
        keys = describe_difference(now, still)
        found = (
            Finding(
                law,
                flow.target.table,
                "breaks",
                1,
                f"{len(keys)} keys differ",
                (),
                tuple(still.get(keys[0], ())),
                tuple(now.get(keys[0], ())),
            )
            if keys
            else None
        )
        findings.append(found or Finding(law, flow.target.table, "holds", 1, f"with {pairs[0].target.table}"))
    return findings


def choose_flows(
    found: Survey,  # The pipeline
) -> tuple[list, list, list]:  # AUTO CDC flows to look at, their inputs, findings for those left out
    "Choose the flows that a feed reaches; `UsageError` if there is none."
    flows, places, left = [], [], []
    for flow in found.graph.flows.values():
        if flow.kind != "auto_cdc":
            continue
        mine = [place for name in upstream_of(found, flow.name) for place in found.inputs.get(name, ())]
        if flow.once:
            left.append(
                Finding(
                    "all",
                    flow.target.table,
                    "not applicable",
                    0,
                    f"flow {flow.name} runs once, over what is there then",
                )
            )
        elif not mine:
            left.append(
                Finding(
                    "all",
                    flow.target.table,
                    "not applicable",
                    0,
                    "no feed can be made: its stream starts at no folder of a volume and no table",
                )
            )
        else:
            flows, places = [*flows, flow], list(dict.fromkeys([*places, *mine]))
    if flows:
        return flows, places, left
    raise UsageError(
        "nothing to prove: "
        + ("; ".join(f"{each.table}: {each.why}" for each in left) or "the pipeline has no AUTO CDC flow")
    )


def prove_laws(
    request: UpdateRequest,  # The pipeline; its storage is only read, for tables that the pipeline does not make
    runs: int = 1,  # Deliveries of each manner
    events: int = 300,  # Events of the feed, about
    seed: int = 0,  # The same number gives the same feed and deliveries
    feed: Path = None,  # Files of the user instead of a feed made up
    tell: Callable[[str], None] = lambda line: None,  # Takes lines of progress
) -> list[Finding]:
    "Try every law on a pipeline; raises `UsageError` where no feed can be made."
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="cdc-prove-") as name:
        found = survey_pipeline(request, Path(name) / "survey")
        flows, places, findings = choose_flows(found)
        trial = Trial(request, found, places, flows, Path(name), tell)
        write_probes(trial)
        with update_session(replace(request, dry_run=True)) as spark:
            told = (
                own_feed(feed, places, flows[0].spec.keys)
                if feed
                else made_feed(spark, found, flows, places, events, draw)
            )
        trial.place_of = {event: number for number, event in enumerate(told)}
        first = play_delivery(trial, [told])
        played = {
            law: [(batches, play_delivery(trial, batches)) for batches in each]
            for law, each in deliveries(told, runs, draw).items()
        }
        for target in dict.fromkeys(flow.target for flow in flows):
            before = read_outcome(
                first, target, next(flow.spec.keys for flow in flows if flow.target == target)
            )
            if not before:
                raise UsageError(
                    f"no row of the feed reached {target}: the rules on its way refuse them all",
                    hint="--feed DIR takes files of your own",
                )
            findings += laws_of_order(trial, target, before, played) + laws_of_content(
                trial, target, before, first, told
            )
        return findings + law_of_pairs(trial, first)
