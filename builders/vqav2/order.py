"""Work done side by side, its results in the order of the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def pool(workers: int, processes: bool, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> Iterator[Executor]:
    """Threads, or processes that end when this one does, however it ends; `prepare` runs first in each."""
    executor: Executor
    if processes:
        spawn = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(workers, spawn, _start, (prepare, arguments))
    else:
        prepare(*arguments)
        executor = ThreadPoolExecutor(workers)
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def in_order(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    ahead: Callable[[], int],
    ending: Callable[[], object] = lambda: None,
) -> Generator[Result, None, None]:
    """The results of the tasks, of which at most `ahead()`, or one, are under way or wait to be taken. When it is
    closed, or fails, `ending` is called; what has not begun then is not done, and what has is waited for."""
    under_way: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            under_way.append(executor.submit(function, task))
            while len(under_way) >= max(1, ahead()):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        ending()
        wait([future for future in under_way if not future.cancel()])


def _start(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent ends its own
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    """A process whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
