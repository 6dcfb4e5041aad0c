"""Work in a thread of its own that keeps nobody from ending the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def in_background(call: Callable[[], T], name: str) -> asyncio.Future[T]:
    """What `call` returns or raises, once it does. Who no longer wants it cancels the future.

    Unlike a thread of `asyncio.to_thread` it is not waited for when the event loop ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(outcome: Callable[[], None]) -> None:
        if not future.done():
            outcome()

    def work() -> None:
        try:
            outcome = partial(future.set_result, call())
        except BaseException as error:
            outcome = partial(future.set_exception, error)
        # The loop has ended where nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
