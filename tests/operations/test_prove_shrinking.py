"A counterexample of `cdc prove` is cut down to one key and a few events."

from prove_trials import flow, moves, table, trial

from cdc_local.operations import prove_shrinking
from cdc_local.operations.prove_shrinking import RERUNS, shrink_delivery


def first_wins(monkeypatch, plays):
    "A pipeline that keeps the row of a key that arrives first, but only where a key is no 5."

    def outcome(batches, name, keys):
        found = {}
        for event in (event for batch in batches for event in batch):
            found.setdefault(event.key, [dict(event.row)["city"]])
        return found

    monkeypatch.setattr(
        prove_shrinking, "play_delivery", lambda trial, batches: plays.append(batches) or batches
    )
    monkeypatch.setattr(prove_shrinking, "read_outcome", outcome)

    def newest(batches):
        return {
            event.key: [dict(event.row)["city"]]
            for event in sorted(
                (event for batch in batches for event in batch),
                key=lambda event: (event.key, dict(event.row)["at"]),
            )
        }

    return newest


def test_a_counterexample_is_small_and_alone(tmp_path, monkeypatch):
    plays = []
    expect = first_wins(monkeypatch, plays)
    rows = moves(
        (5, "Ulm", 1), (1, "Oslo", 3), (1, "Bern", 4), (2, "Kyiv", 1), (2, "Rome", 2), (2, "Lyon", 3)
    )
    batches, expected, found = shrink_delivery(
        trial(tmp_path, flow("now", "landed")),
        table("now"),
        [rows[:4], rows[4:]],
        [("5",), ("1",), ("2",)],
        expect,
    )
    assert (batches, expected, found) == ([moves((1, "Oslo", 3), (1, "Bern", 4))], ("Bern",), ("Oslo",))
    assert len(plays) <= RERUNS + 1
    assert (
        shrink_delivery(trial(tmp_path, flow("now", "landed")), table("now"), [rows], [("5",)], expect)
        is None
    )
