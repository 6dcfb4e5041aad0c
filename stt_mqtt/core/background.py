"""Work in threads that keep nobody from ending the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(ThreadPoolExecutor):
    """An executor whose threads nobody waits for: neither an event loop nor the interpreter.

    As the executor of an event loop it keeps a name that cannot be looked up from delaying the end.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in a thread of its own, at once."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="background", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: there is nothing to wait for."""


_THREADS = DaemonExecutor()


def in_background(call: Callable[[], T]) -> asyncio.Future[T]:
    """What `call` returns or raises, once it does. Who no longer wants it cancels the future.

    Unlike a thread of `asyncio.to_thread` it is not waited for when the event loop ends.
    """
    return asyncio.get_running_loop().run_in_executor(_THREADS, call)
