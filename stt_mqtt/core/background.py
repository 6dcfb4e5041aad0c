"""Nothing waits for these: background threads, and connections that end at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(ThreadPoolExecutor):
    """An executor with daemon threads. Neither the event loop nor the interpreter waits for them.

    As the default executor of an event loop it prevents a hanging name lookup from delaying the
    end.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` at once, in its own daemon thread. Raises RuntimeError if none can start."""
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
        """Do nothing: daemon threads are not waited for."""


_THREADS = DaemonExecutor()


def in_background(call: Callable[[], T]) -> asyncio.Future[T]:
    """Run `call` in a daemon thread. The future gets its result or its exception.

    The event loop does not wait for the thread when it ends, unlike for `asyncio.to_thread`. Cancel
    the future to ignore the result. Raises RuntimeError if no thread can start.
    """
    return asyncio.get_running_loop().run_in_executor(_THREADS, call)


async def in_background_until(stop: asyncio.Event, call: Callable[[], T]) -> T | None:
    """The result of `call` in a daemon thread. None: `stop` was set before it ended."""
    working = in_background(call)
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {working, stopping}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None


def hang_up(transport: asyncio.WriteTransport) -> None:
    """End a connection at once, without sending what waits. It may have ended already.

    asyncio raises an `AttributeError` if it was closed while something was yet to be sent, and has
    ended since.
    """
    with suppress(AttributeError):
        transport.abort()
