"""When entries are old enough to be dropped, and which go together.

Pure: standard library, ``schemas.records`` and the core only. It depends on the entries and a log time alone, so that
a worker that was rebuilt drops what any other would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from peaktime.core.windows import WindowId, has_unended, lone_scale_in, pairs, stated_end
from schemas.records import Entry

#: Entries are dropped this long after their window, by log time.
KEPT_FOR = timedelta(days=30)


def expires_at(entry: Entry, *, ended: bool = False) -> datetime | None:
    """When the entry may be dropped, by log time; None while the end of its window is not known.

    Args:
        entry: the entry.
        ended: whether another entry's scale-in ends its window.
    """
    times = [entry.log_time]
    times += [window.closed_at for window in entry.closed]
    for action in (entry.scale_out, entry.scale_in):
        if action is not None:
            times += [t for t in (action.starts_at, action.ends_at, action.ended_at) if t is not None]
    if entry.scale_out is not None and stated_end(entry) is None and not ended:
        return None
    return max(times) + KEPT_FOR


def droppable(by_key: Mapping[str, Entry], due: Collection[str], log_time: datetime) -> set[str]:
    """Of the entries that are due the ones that may go now, with those that go along.

    A scale-in that ends another entry's window goes when that entry goes, and not before: the window would open again.

    Args:
        by_key: all entries of the target.
        due: keys of those whose own time has come.
        log_time: the time (UTC).
    """
    pairing = any(has_unended(by_key[key]) or lone_scale_in(by_key[key]) for key in due)
    ended = pairs(by_key.values()) if pairing else {}
    linked: dict[str, set[str]] = {}
    for (window, _), lone in ended.items():
        linked.setdefault(window, set()).add(lone.entry)
        linked.setdefault(lone.entry, set()).add(window)
    gone: set[str] = set()
    for key in due:
        if key not in gone:
            group = _group(key, linked)
            if all(_over(by_key[member], ended, log_time) for member in group):
                gone |= group
    return gone


def _over(entry: Entry, ended: Mapping[WindowId, object], log_time: datetime) -> bool:
    out = entry.scale_out
    expiry = expires_at(entry, ended=out is not None and (entry.key, out.position) in ended)
    return expiry is not None and expiry < log_time


def _group(key: str, linked: Mapping[str, set[str]]) -> set[str]:
    """The keys that are linked to a key, itself included."""
    group, new = {key}, [key]
    while new:
        more = linked.get(new.pop(), set()) - group
        group |= more
        new += more
    return group
