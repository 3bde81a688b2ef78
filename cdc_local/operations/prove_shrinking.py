"""The smallest counterexample: a broken delivery is cut down to one key and a few events."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cdc_local.operations.prove_deliveries import Delivery, Trial, play_delivery
from cdc_local.operations.prove_feeds import Event
from cdc_local.operations.prove_outcomes import Key, Outcome, differing_keys, read_outcome
from cdc_local.storage import TableName

RERUNS = 3  # Deliveries, at most, that are spent on making a counterexample smaller
_KEYS_TRIED = 3  # Keys, at most, that are played alone


class Counterexample(NamedTuple):
    "A delivery that breaks a law."

    delivery: Delivery  # Its batches
    expected: tuple[str, ...]  # Rows of the keys that differ, had the law held
    found: tuple[str, ...]  # Their rows as they are


def shrink_delivery(
    trial: Trial,  # The pipeline
    name: TableName,  # The table that differs
    delivery: Delivery,  # What broke the law
    keys: Sequence[Key],  # Keys that differ
    expect: Callable[[Delivery], Outcome],  # What the table should be after a delivery
) -> Counterexample | None:  # None if no key differs when it is alone
    """Find a small delivery that still breaks the law: of the keys with the fewest events the first that
    differs alone, without the events that are not needed."""

    def events_of(key: Key) -> int:
        return sum(event.key == key for batch in delivery for event in batch)

    smallest, reruns = None, 0
    fewest = sorted((key for key in keys if events_of(key)), key=events_of)[:_KEYS_TRIED]
    for alone in [_only_key(delivery, key) for key in fewest] or [delivery]:
        smallest, reruns = _play_and_compare(trial, name, alone, expect), reruns + 1
        if smallest:
            break
    while smallest:
        smaller = None
        for left_out in dict.fromkeys(event for batch in smallest.delivery for event in batch):
            if reruns >= RERUNS or sum(map(len, smallest.delivery)) < 2:
                return smallest
            rest = _without_event(smallest.delivery, left_out)
            smaller, reruns = _play_and_compare(trial, name, rest, expect) if rest else None, reruns + 1
            if smaller:
                break
        if not smaller:
            return smallest
        smallest = smaller
    return None


def _only_key(
    delivery: Delivery,  # Batches
    key: Key,  # A key
) -> Delivery:
    "Leave out the events of all other keys."
    return _keep_events(delivery, lambda event: event.key == key)


def _without_event(
    delivery: Delivery,  # Batches
    left_out: Event,  # An event, with its copies
) -> Delivery:
    "Leave out one event."
    return _keep_events(delivery, lambda event: event != left_out)


def _keep_events(
    delivery: Delivery,  # Batches
    keep: Callable[[Event], bool],  # Which events stay
) -> Delivery:  # Batches without the other events; none is empty
    "Leave events out of a delivery."
    batches = ([event for event in batch if keep(event)] for batch in delivery)
    return [batch for batch in batches if batch]


def _play_and_compare(
    trial: Trial,  # The pipeline
    name: TableName,  # The table
    delivery: Delivery,  # Batches
    expect: Callable[[Delivery], Outcome],  # What the table should be after a delivery
) -> Counterexample | None:  # None where the law holds
    "Play a delivery, and see whether it breaks the law."
    expected = expect(delivery)
    found = read_outcome(play_delivery(trial, delivery), name, trial.keys_of(name))
    keys = differing_keys(expected, found)
    if not keys:
        return None
    expected_rows, found_rows = (
        tuple(row for key in keys for row in outcome.get(key, ())) for outcome in (expected, found)
    )
    return Counterexample(delivery, expected_rows, found_rows)
