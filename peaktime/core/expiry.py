"""When entries are old enough to be dropped, and which go together.

Pure: standard library, ``schemas.records`` and the core only. It depends on the entries and a log time alone, so that
a worker that was rebuilt drops what any other would.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from peaktime.core.windows import WindowId, may_pair, one_sided, pairs, stated_end
from schemas.records import Entry

#: Entries are dropped this long after their window, by log time.
KEPT_FOR = timedelta(days=30)
_NEVER = datetime.max.replace(tzinfo=UTC)


def expires_at(entry: Entry, *, ended: bool = False) -> datetime | None:
    """When the entry may be dropped, by log time; None while it is in use.

    That is while the end of its window is not known, or while it pauses its target.

    Args:
        entry: the entry.
        ended: whether another entry's scale-in ends its window.
    """
    if entry.pause is not None:
        return None
    if entry.scale_out is not None and stated_end(entry) is None and not ended:
        return None
    latest = entry.log_time
    for window in entry.closed:
        latest = max(latest, window.closed_at)
    for action in (entry.scale_out, entry.scale_in):
        if action is not None:
            for instant in (action.starts_at, action.ends_at, action.ended_at):
                if instant is not None and instant > latest:
                    latest = instant
    return latest + KEPT_FOR


@dataclass(slots=True)
class Expiries:
    """What of one target may be dropped, and when to look again. What it says follows from the entries alone.

    A scale-in that ends another entry's window goes when that entry goes, and not before: the window would open again.
    """

    _heap: list[tuple[datetime, str]] = field(default_factory=list)
    #: Times of entries that may pair with others, by key and in order; of those, the ones whose own time has come.
    _pairable: dict[str, list[datetime]] = field(default_factory=dict)
    _in_order: list[tuple[datetime, str]] = field(default_factory=list)
    _waiting: set[str] = field(default_factory=set)
    #: Until then none of those that wait may go, unless what pairs changes; None if it has.
    _again: datetime | None = None

    def put(self, key: str, entry: Entry) -> None:
        """Take an entry as it is now."""
        self.drop(key)
        times = one_sided(entry) if may_pair(entry) else []
        if times:
            self._pairable[key] = times
            for instant in times:
                insort(self._in_order, (instant, key))
            self._again = None
        expiry = expires_at(entry)
        if expiry is not None:
            heapq.heappush(self._heap, (expiry, key))

    def drop(self, key: str) -> None:
        """Forget an entry."""
        times = self._pairable.pop(key, None)
        if times is not None:
            for instant in times:
                del self._in_order[bisect_left(self._in_order, (instant, key))]
            self._again = None
        self._waiting.discard(key)

    def droppable(self, by_key: Mapping[str, Entry], log_time: datetime) -> set[str]:
        """The keys of the entries that may go now; whoever drops them says so by ``drop``.

        Args:
            by_key: all entries of the target.
            log_time: the time (UTC).
        """
        gone: set[str] = set()
        while self._heap and self._heap[0][0] < log_time:
            expiry, key = heapq.heappop(self._heap)
            entry = by_key.get(key)
            if entry is None or expires_at(entry) != expiry:
                continue  # it has changed since, and has its place further on
            if key in self._pairable:
                self._waiting.add(key)
                self._again = None
            else:
                gone.add(key)
        if self._waiting and (self._again is None or self._again < log_time):
            gone |= self._groups(by_key, log_time)
        return gone

    def _groups(self, by_key: Mapping[str, Entry], log_time: datetime) -> set[str]:
        """Of those that wait, the ones that may go, with those that go along."""
        # What fires when is settled in order of time: nothing later can pair with anything that may go.
        until = bisect_left(self._in_order, (log_time - KEPT_FOR, ""))
        ended = pairs(by_key[key] for key in {key for _, key in self._in_order[:until]})
        linked: dict[str, set[str]] = {}
        for (window, _), lone in ended.items():
            linked.setdefault(window, set()).add(lone.entry)
            linked.setdefault(lone.entry, set()).add(window)
        gone: set[str] = set()
        again = _NEVER
        for key in self._waiting - gone:
            group = _group(key, linked)
            over = max((_over_at(by_key[member], ended) for member in group), default=_NEVER)
            if over < log_time:
                gone |= group
            else:
                again = min(again, over)
        self._again = again
        return gone


def _over_at(entry: Entry, ended: Mapping[WindowId, object]) -> datetime:
    out = entry.scale_out
    expiry = expires_at(entry, ended=out is not None and (entry.key, out.position) in ended)
    return _NEVER if expiry is None else expiry


def _group(key: str, linked: Mapping[str, set[str]]) -> set[str]:
    """The keys that are linked to a key, itself included."""
    group, new = {key}, [key]
    while new:
        more = linked.get(new.pop(), set()) - group
        group |= more
        new += more
    return group
