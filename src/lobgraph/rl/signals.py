"""The signals that ask a training to stop: the first one asks, the second one ends the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def first_stop(then: Callable[[], Any], stops: tuple[signal.Signals, ...] = STOPS) -> Iterator[None]:
    """Call `then` at the first of these signals and restore the old handlers, so that the second one does what it did before.

    Signals reach the main thread only: in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in stops}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(*_: Any) -> None:
        restore()
        then()

    for number in stops:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
