"Deliveries of `cdc prove`: the same events in other manners, and how a batch of them arrives."

import random
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from prove_trials import MOVES, flow, moves, table, trial

from cdc_local.errors import PipelineError
from cdc_local.operations import prove_deliveries
from cdc_local.operations.prove_deliveries import (
    format_rows,
    land_batch,
    make_deliveries,
    play_delivery,
    to_arrow_table,
    write_probes,
)
from cdc_local.operations.prove_survey import Input
from cdc_local.storage import Storage


def test_deliveries_are_the_same_events_in_other_manners():
    events = moves(*[(number // 3, "Bern", number) for number in range(76)])
    deliveries = make_deliveries(events, 2, random.Random(1))
    assert list(deliveries) == ["order", "batches", "repeats"]
    for law, of_law in deliveries.items():
        assert len(of_law) == 2, law
        for delivery in of_law:
            arrived = [event for batch in delivery for event in batch]
            assert set(arrived) == set(events) and arrived != events, law
            assert len(arrived) == len(events) + (len(events) * 15 // 100 if law == "repeats" else 0), law
    assert [len(delivery) for delivery in deliveries["order"]] == [1, 1]
    assert all(2 <= len(delivery) <= 8 for delivery in deliveries["batches"])
    assert [len(delivery) for delivery in deliveries["repeats"]] == [2, 2]


def test_every_source_has_a_probe(tmp_path):
    played = trial(tmp_path, flow("now", "landed"), flow("history", "landed", 2), flow("other", "crm.moves"))
    assert played.probe_names() == {"crm.moves": "__proof_0", "landed": "__proof_1"}
    write_probes(played)
    declared = (tmp_path / "probes/probes.py").read_text()
    assert "@dp.table(name='__proof_1')\ndef proof_1(): return spark.readStream.table('landed')\n" in declared


def test_a_delivery_lands_batch_by_batch_in_a_storage_of_its_own(tmp_path, monkeypatch):
    requests, played = [], trial(tmp_path, flow("now", "landed"))

    def update(request):
        requests.append(
            (
                request,
                sorted(path.name for path in request.storage.rglob("*.json") if path.parent.name == "moves"),
            )
        )
        return SimpleNamespace(state="COMPLETED" if len(requests) < 4 else "FAILED", error="boom")

    monkeypatch.setattr(prove_deliveries, "run_update", update)
    batches = [moves((1, "Bern", 1)), moves((2, "Oslo", 1))]
    first = play_delivery(played, batches)
    assert [files for _, files in requests] == [["001.json"], ["001.json", "002.json"]]
    assert (
        requests[0][0].refresh == ("main.default.__proof_0", "main.default.now")
        and requests[0][0].storage == first.root
    )
    assert play_delivery(played, batches[:1]).root != first.root and played.updates == 3
    with pytest.raises(PipelineError, match="failed on a generated feed: boom"):
        play_delivery(played, batches)


def test_each_input_gets_its_own_rows(tmp_path):
    storage = Storage(tmp_path).create()
    events = [*moves((1, "Bern", 1)), *[event._replace(input_number=1) for event in moves((2, "Oslo", 2))]]
    land_batch(
        storage,
        [MOVES, replace(MOVES, location="Volumes/other", file_format="csv", options=(("header", "true"),))],
        events,
        "001",
    )
    texts = {
        str(path.relative_to(tmp_path)): path.read_text() for path in (tmp_path / "Volumes").rglob("*.*")
    }
    assert texts == {
        "Volumes/main/default/raw/moves/001.json": '{"id": 1, "city": "Bern", "at": 1}\n',
        "Volumes/other/001.csv": "id,city,at\n2,Oslo,2\n",
    }
    assert (
        format_rows([{"id": 2, "at": 3}], replace(MOVES, file_format="csv", options=(("sep", ";"),)))
        == "2;;3\n"
    )


def test_a_batch_for_a_table_is_one_commit(storage):
    path = str(storage.table_path(table("arrivals")))
    DeltaTable.create(path, pa.schema([("id", pa.int32()), ("city", pa.string()), ("at", pa.int32())]))
    source = Input("main.default.arrivals", "table", MOVES.schema)
    land_batch(storage, [source], moves((1, "Bern", 1), (2, "Oslo", 1)), "001")
    land_batch(storage, [source], [], "002")
    arrived = DeltaTable(path)
    assert arrived.to_pyarrow_table().to_pylist() == [
        {"id": 1, "city": "Bern", "at": 1},
        {"id": 2, "city": "Oslo", "at": 1},
    ]
    assert arrived.version() == 1


def test_rows_for_a_delta_table_are_typed():
    schema = pa.schema(
        [
            ("id", pa.int32()),
            ("at", pa.timestamp("us", tz="UTC")),
            ("local", pa.timestamp("us")),
            ("city", pa.string()),
        ]
    )
    rows = to_arrow_table(
        [{"id": 7, "at": "2026-01-01T07:00:00.000Z", "local": "2026-01-01T07:00:00"}], schema
    )
    assert rows.schema == schema
    assert rows.to_pylist() == [
        {
            "id": 7,
            "at": datetime(2026, 1, 1, 7, tzinfo=UTC),
            "local": datetime(2026, 1, 1, 7),
            "city": None,
        }
    ]
