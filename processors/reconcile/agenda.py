"""What of a target with many entries is to be looked at next.

It remembers which entries changed, when each is due by the clock, and how far the round through all of them has come.
All of it may be lost without harm: it begins anew with a round through everything. Must not: decide what a look shows,
or do anything itself.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import chain, count, islice

from peaktime.core.actions import Circumstances
from peaktime.core.focus import coming, is_common
from peaktime.core.parts import Parts
from peaktime.core.requests import Entries

#: Entries in one look at a part: so few that the event loop hardly notices.
CHUNK = 25
#: Seconds after a change in the coming days that the wide part, which is all of them, is looked at.
SETTLE = 1.0
#: The wide part is looked at this often, since what was far ahead comes near.
_WIDE_AGAIN = timedelta(hours=1)


class Agenda:
    """One target's.

    Attributes:
        parts: its entries by stretch.
        common: keys of the entries that bear on all others.
        reruns: keys of the entries with a run that was asked for again.
        wide: whether a look at the wide part is due.
    """

    def __init__(self, entries: Entries, resync: float, *, chunk: int = CHUNK, settle: float = SETTLE) -> None:
        """Begin with a round through everything.

        Args:
            entries: the target's entries.
            resync: seconds between the beginnings of two rounds, at least.
            chunk: entries in one look.
            settle: seconds after a change in the coming days that the wide part is looked at.
        """
        self._resync, self._chunk, self._settle = resync, chunk, settle
        self._numbers = count()
        self._anew(entries)

    def _anew(self, entries: Entries) -> None:
        self.parts = Parts(entries.by_key)
        self.common: set[str] = set()
        self.reruns: set[str] = set()
        self._note(entries, entries.by_key)
        self._told = entries.position
        self._changed: set[str] = set()
        self._wanted: dict[str, None] = {}
        self._due: dict[str, datetime] = {}
        self._dues: list[tuple[datetime, str]] = []
        self._later: list[tuple[float, int, frozenset[str]]] = []
        self._wide_at: datetime | None = None
        self._wide_later: float | None = None
        self._round: deque[str] = deque()
        self._round_at = 0.0
        self._hurry = False
        self.everything(entries)

    def everything(self, entries: Entries) -> None:
        """Anything may be different: go round all of it, without rest."""
        self._round = deque(dict.fromkeys(chain(self.parts.in_order(), entries.by_key)))
        self._hurry = True
        self.wide = True

    def changed(self, keys: Iterable[str], position: int) -> None:
        """Entries have changed; whoever folds says so before anybody looks again.

        Args:
            keys: of the entries.
            position: the target's folded position after it.
        """
        self._changed.update(keys)
        self._told = position

    def want(self, keys: Iterable[str]) -> None:
        """Look at these entries soon."""
        self._wanted |= dict.fromkeys(keys)

    def want_later(self, keys: Iterable[str], monotonic: float) -> None:
        """Look at these entries once more at a time of the monotonic clock."""
        heapq.heappush(self._later, (monotonic, next(self._numbers), frozenset(keys)))

    def looked(self, keys: Iterable[str], look_again: datetime | None, now: datetime, *, wide: bool) -> None:
        """Entries were looked at.

        Args:
            keys: theirs.
            look_again: when the clock alone makes it necessary again (UTC), None for never.
            now: the time (UTC).
            wide: whether they were the wide part.
        """
        for key in keys:
            if look_again is None:
                self._due.pop(key, None)
            else:
                self._due[key] = look_again
                heapq.heappush(self._dues, (look_again, key))
        if len(self._dues) > 2 * len(self._due) + self._chunk:
            self._dues = [(instant, key) for key, instant in self._due.items()]
            heapq.heapify(self._dues)
        if wide:
            self.wide, self._wide_later = False, None
            self._wide_at = min(look_again or now + _WIDE_AGAIN, now + _WIDE_AGAIN)

    def next_due(self) -> datetime | None:
        """The earliest time at which the clock alone makes a look necessary (UTC)."""
        times = [self._dues[0][0]] if self._dues else []
        times += [self._wide_at] if self._wide_at is not None else []
        return min(times, default=None)

    @property
    def left(self) -> int:
        """How many entries the round has before it."""
        return len(self._round)

    def waiting(self) -> bool:
        """Whether there is something to look at without rest."""
        return bool(self._changed or self._wanted or self.wide or (self._hurry and self._round))

    def take(self, entries: Entries, at: Circumstances, monotonic: float, *, rested: bool) -> set[str] | None:
        """The keys to look at next, closed; None if nothing is to be looked at. Empty if only the wide part is.

        Args:
            entries: the target's entries as they are.
            at: the circumstances.
            monotonic: the monotonic clock (s).
            rested: whether the round may go on if it is not in a hurry.
        """
        self._take_in(entries, at, monotonic)
        self._take_due(at.now, monotonic)
        if self._wanted:
            return self.parts.closed(self._first_wanted())
        if self.wide:
            return set()
        if not self._round:
            if self._hurry:
                self._hurry, self._round_at = False, monotonic + self._resync
            if monotonic < self._round_at:
                return None
            self.everything(entries)
            self._hurry, self._round_at = False, monotonic + self._resync
            return set()
        if not (self._hurry or rested):
            return None
        return self.parts.closed(self._round.popleft() for _ in range(min(self._chunk, len(self._round))))

    def _first_wanted(self) -> list[str]:
        keys = list(islice(self._wanted, self._chunk))
        for key in keys:
            del self._wanted[key]
        return keys

    def _take_in(self, entries: Entries, at: Circumstances, monotonic: float) -> None:
        """Bring the stretches up to what the entries are."""
        if entries.position != self._told:
            self._anew(entries)  # something was folded without a word
            return
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        part = self.parts.update(entries.by_key, changed)
        self.want(part)
        if self._wide_later is None and not part.isdisjoint(coming(self.parts, at)):
            self._wide_later = monotonic + self._settle
        if self._note(entries, changed):
            self.everything(entries)

    def _note(self, entries: Entries, keys: Iterable[str]) -> bool:
        """Note what is special about entries; whether one of them bears on all others."""
        bears = False
        for key in keys:
            entry = entries.by_key.get(key)
            common = entry is not None and is_common(entry)
            bears |= common or key in self.common
            (self.common.add if common else self.common.discard)(key)
            (self.reruns.add if entry is not None and entry.rerun is not None else self.reruns.discard)(key)
        return bears

    def _take_due(self, now: datetime, monotonic: float) -> None:
        while self._dues and self._dues[0][0] <= now:
            instant, key = heapq.heappop(self._dues)
            if self._due.get(key) == instant:
                del self._due[key]
                self._wanted[key] = None
        while self._later and self._later[0][0] <= monotonic:
            self.want(heapq.heappop(self._later)[2])
        if self._wide_at is not None and self._wide_at <= now:
            self._wide_at, self.wide = None, True
        if self._wide_later is not None and self._wide_later <= monotonic:
            self._wide_later, self.wide = None, True
