"""Many independent tasks of small tensors: one thread each does more than all threads on one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``task`` of each item, in the order of the items, on as many threads as torch may use."""
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(task, items)
    finally:
        # A thread's own count is also what torch gives to threads that start later.
        torch.set_num_threads(threads)
