"""Not more than so many a second.

For: whoever writes much at once to a topic that others live from. Must not: know what is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Lets so many pass in a second, evenly; time that was not used is not made up for.

    Args:
        rate: how many a second.
        clock: seconds from any beginning.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._next = clock()

    def wait(self, count: int) -> None:
        """Wait until so many more may pass."""
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + count / self._rate
