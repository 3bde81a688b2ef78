"""Work in several threads: what comes out, in which order, and what happens when some of it fails."""

import itertools
import threading
import time

import pytest

from cdc_local.autoloader.ahead import map_ahead


def test_results_come_in_the_order_of_the_items():
    def wait_and_return(number):
        time.sleep(0.002 * (number % 3))
        return number

    assert list(map_ahead(wait_and_return, range(50))) == list(range(50))


def test_two_items_are_worked_on_at_once():
    both = threading.Barrier(2)
    assert len(list(map_ahead(lambda _: both.wait(timeout=30), range(2)))) == 2


def test_a_mistake_is_raised_at_the_turn_of_its_item():
    results = map_ahead(lambda number: 6 / (3 - number), range(6))
    assert list(itertools.islice(results, 3)) == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_only_a_few_items_are_taken_ahead():
    taken = []
    items = (taken.append(number) or number for number in range(1000))
    results = map_ahead(lambda number: number, items)
    assert next(results) == 0
    assert len(taken) < 20
    results.close()
    assert len(taken) < 20
    assert not any(thread.name.startswith("cdc-read-ahead") for thread in threading.enumerate())
