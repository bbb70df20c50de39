"""Runs checks side by side, each by itself: one that fails or hangs takes nothing from the others.

Must not: know what is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from peaktime.errors import PeaktimeError
from processors.doctor.lines import Line, Status, warning, wrong

T = TypeVar("T")

#: How long one check may take (s). What it asks gives up a little earlier by itself, and then says why.
DEADLINE = 5.0
PATIENCE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at.

    Attributes:
        name: what it is about.
        look: looks at it.
        after: name of a check before it, without whose success it can find nothing; empty if there is none.
        seconds: how long it may take.
    """

    name: str
    look: Callable[[], Awaitable[Sequence[Line]]]
    after: str = ""
    seconds: float = DEADLINE


async def run(checks: Iterable[Check]) -> list[Line]:
    """What all checks say, in their order; none ever fails."""
    tasks: dict[str, asyncio.Task[list[Line]]] = {}
    for check in checks:
        tasks[check.name] = asyncio.create_task(_said(check, tasks.get(check.after)))
    return [line for task in tasks.values() for line in await task]


async def _said(check: Check, before: asyncio.Task[list[Line]] | None) -> list[Line]:
    if before is not None:
        cause = next((line for line in await before if line.status is Status.WRONG), None)
        if cause is not None:
            skipped = warning(check.name, f"not checked, because of {cause.about}", "Mend that, then run this again")
            return [replace(skipped, check=check.name)]
    try:
        async with asyncio.timeout(check.seconds):
            lines = list(await check.look())
    except TimeoutError:
        lines = [
            wrong(check.name, f"there was no answer within {check.seconds:g} s", "See that it is up and reachable")
        ]
    except PeaktimeError as error:
        lines = [wrong(error.thing, error.reason, error.remedy or "See the message")]
    except Exception as error:  # noqa: BLE001  (whatever one check suffers from, the others are told)
        said = f"could not be checked: unexpected {type(error).__name__}: {error}"
        lines = [wrong(check.name, said, "Report it, with what PEAKTIME_DEBUG=true shows")]
    return [replace(line, check=check.name) for line in lines]


async def in_thread(ask: Callable[[], T]) -> T:
    """What a blocking call gives. The thread may be left behind: it does not keep the process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # without an error there is a result

    def work() -> None:
        result, failure = None, None
        try:
            result = ask()
        except BaseException as error:  # noqa: BLE001  (raised where the result is awaited)
            failure = error
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=work, name="doctor", daemon=True).start()
    return await future
