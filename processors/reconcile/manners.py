"""When a write may be sent to the API server, so that one that is in trouble is neither hammered nor left alone.

Per object an exponential backoff and one write in flight; for all together one token bucket, what the server asked for
with Retry-After, and, once it fails for several objects in a row, single trials until one of them succeeds. It sends
nothing and knows nothing of what is written.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

#: An object that failed is tried again after this long (s), doubled each time up to the longest.
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0
#: So many objects in trouble, and no write done between them: then it is the server.
MANY = 4
#: While the server is in trouble, one write at a time is tried, this far apart (s), doubled up to the longest.
_FIRST_TRIAL, _LONGEST_TRIAL = 0.25, 2.0
#: What Retry-After may ask for at most (s): a slip of a proxy must not stop the worker for a day.
LONGEST_ASKED = 30.0
#: A token that is further away than this (s) is not waited for: by then the write may be out of date.
_LONGEST_WAIT_FOR_TOKEN = 1.0
_IN_FLIGHT_AGAIN = 0.1
_FORGET_AFTER = 60.0

#: Kind, namespace and name.
Key = tuple[str, str, str]


class TokenBucket:
    """So many at once, and so many a second after that; also fewer than one a second.

    Attributes:
        burst: the most that it holds.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin full.

        Args:
            rate: tokens a second.
            burst: the most that it holds.
            clock: seconds, never going back.
        """
        self._rate, self.burst, self._clock = rate, burst, clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self, longest: float, *, leave: float = 0.0) -> tuple[bool, float]:
        """Take a token: whether it was taken, and after how many seconds it may be used or asked for again.

        Args:
            longest: seconds; a token that comes later is not taken.
            leave: so many are left for others.
        """
        now = self._clock()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        wait = max(0.0, (1 + leave - self._tokens) / self._rate)
        if wait > longest:
            return False, wait
        self._tokens -= 1
        return True, wait


@dataclass(slots=True)
class _Failing:
    """An object whose last write did not succeed."""

    failures: int
    until: float


class Manners:
    """Says when a write of an object may be sent, from what became of those before it."""

    def __init__(
        self,
        *,
        qps: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Begin with good faith.

        Args:
            qps: writes a second.
            burst: writes at once above that rate.
            clock: seconds, never going back.
            jitter: a number between two others.
        """
        self._bucket = TokenBucket(qps, burst, clock)
        self._clock, self._jitter = clock, jitter
        self._in_flight: set[Key] = set()
        self._failing: dict[Key, _Failing] = {}
        self._asked: dict[Key, float] = {}
        self._hold = 0.0
        self._trouble: set[Key] = set()
        self._trials = 0
        self._last_trial = 0.0
        self._swept = clock()

    @property
    def in_trouble(self) -> bool:
        """Whether the server fails for many objects."""
        return len(self._trouble) >= MANY

    def wait(self, key: Key) -> float:
        """Seconds until a write of this object may be tried; 0 if now."""
        now = self._clock()
        if key in self._in_flight:
            return _IN_FLIGHT_AGAIN
        failing = self._failing.get(key)
        until = max(self._hold, failing.until if failing is not None else 0.0)
        if self.in_trouble:
            pause = min(_FIRST_TRIAL * 2 ** min(self._trials, 10), _LONGEST_TRIAL)
            # One that never failed goes first: others that can never succeed must not keep it waiting.
            until = max(until, self._last_trial + (pause if failing is not None else pause / 2))
        return max(0.0, until - now)

    def begin(self, key: Key) -> tuple[bool, float]:
        """Take this object's turn: whether it was had, and after how many seconds to send, or to ask again."""
        wait = self.wait(key)
        if wait > 0:
            return False, wait
        had, wait = self._bucket.take(_LONGEST_WAIT_FOR_TOKEN)
        if had:
            self._in_flight.add(key)
            if self.in_trouble:
                self._trials += 1
                self._last_trial = self._clock()
        return had, wait

    def spare(self) -> float:
        """Take a turn for something that can wait: seconds until there is one to spare, 0 if it was taken."""
        wait = self._hold - self._clock()
        if self.in_trouble or wait > 0:
            return max(wait, LONGEST_BACKOFF / 2)
        had, wait = self._bucket.take(0.0, leave=(self._bucket.burst - 1) / 2)
        return 0.0 if had else wait

    def left(self, key: Key) -> None:
        """The turn was not used."""
        self._in_flight.discard(key)

    def done(self, key: Key) -> None:
        """The write was done."""
        self._in_flight.discard(key)
        self._failing.pop(key, None)
        self._asked.pop(key, None)
        self._trouble.clear()
        self._trials = 0

    def failed(self, key: Key, *, server: bool, after: float | None = None) -> float:
        """The write was not done; seconds until the next try.

        Args:
            key: the object.
            server: whether the server seems to be at fault, and not the write.
            after: seconds that the server asked to wait.
        """
        now = self._clock()
        self._in_flight.discard(key)
        failures = self._failing[key].failures + 1 if key in self._failing else 1
        pause: float = min(FIRST_BACKOFF * 2 ** min(failures - 1, 10), LONGEST_BACKOFF) * self._jitter(0.5, 1.0)
        if server:
            self._trouble.add(key)
        else:
            # The server thinks about what it is asked, so it is well.
            self._trouble.clear()
            self._trials = 0
        if after is not None:
            after = min(after, LONGEST_ASKED)
            pause = max(pause, after * self._jitter(1.0, 1.1))
            if any(until > now for other, until in self._asked.items() if other != key):
                self._hold = max(self._hold, now + after)
            self._asked[key] = now + after
        self._failing[key] = _Failing(failures, now + pause)
        self._sweep(now)
        return pause

    def _sweep(self, now: float) -> None:
        """Forget objects that nobody writes any more."""
        if now - self._swept < _FORGET_AFTER:
            return
        self._swept = now
        self._failing = {k: f for k, f in self._failing.items() if now - f.until < _FORGET_AFTER}
        self._asked = {k: until for k, until in self._asked.items() if until > now}
