"""Work that Arrow does without Python's lock, in several threads at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_THREADS = 4  # More wait for the lock: a part of what is done to each text is Python


def map_ahead(
    function: Callable[[Item], Result],  # Applied to each item, in some thread
    items: Iterable[Item],  # Taken from the calling thread, a few more than were asked for
) -> Iterator[Result]:  # In the order of the items
    "Apply a function to items while earlier results are used; what it raises is raised at its item's turn."
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "cdc-read-ahead") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
