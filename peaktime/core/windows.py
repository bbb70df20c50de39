"""What one entry says about its window, and which scale-in of another entry ends a window whose end nobody stated.

Pure: standard library and ``schemas.records`` only. No levels, no configuration: the fold drops old entries by what is
said here, so it must depend on nothing but the entries.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from schemas.records import Action, Entry

#: A window: key of its entry and position of its scale-out, which parts a cut window from the one asked for again.
WindowId = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LoneScaleIn:
    """The scale-in of an entry without a scale-out."""

    at: datetime
    entry: str
    origin: str
    action: Action


@dataclass(frozen=True, slots=True)
class _Unended:
    """A window whose end nobody stated; a cut one closed all the same."""

    starts_at: datetime
    entry: str
    position: int
    closed_at: datetime | None


def stated_end(entry: Entry) -> tuple[datetime, Action] | None:
    """The end of an entry's own window and the action that states it: of those that state one, the one changed last."""
    out, back = entry.scale_out, entry.scale_in
    last = None if out is None or out.ends_at is None else out
    if back is not None and back.ends_at is not None and (last is None or back.position > last.position):
        last = back
    if last is None:
        return None
    end = last.ended_at or last.ends_at
    return (end, last) if end is not None else None


def open_window(entry: Entry | None, now: datetime) -> bool:
    """Whether the entry's own window is open: started, and its end not reached or not known."""
    if entry is None or entry.scale_out is None or entry.scale_out.starts_at is None:
        return False
    end = stated_end(entry)
    return entry.scale_out.starts_at <= now and (end is None or now < end[0])


def lone_scale_in(entry: Entry) -> LoneScaleIn | None:
    """The entry's scale-in, if it has no scale-out beside it."""
    action = entry.scale_in
    if entry.scale_out is not None or action is None or action.ends_at is None:
        return None
    return LoneScaleIn(action.ended_at or action.ends_at, entry.key, entry.origin, action)


def may_pair(entry: Entry) -> bool:
    """Whether the entry may have a part in ``pairs``; nearly all state their own end and were never cut."""
    out, back = entry.scale_out, entry.scale_in
    if entry.closed:
        return True
    if out is None:
        return back is not None
    return out.ends_at is None and (back is None or back.ends_at is None)


def one_sided(entry: Entry) -> list[datetime]:
    """When each window of the entry starts that has no stated end, or when its lone scale-in fires (UTC)."""
    lone = lone_scale_in(entry)
    return [window.starts_at for window in _unended(entry)] + ([lone.at] if lone is not None else [])


def pairs(entries: Iterable[Entry]) -> dict[WindowId, LoneScaleIn]:
    """By window without a stated end, the lone scale-in that ends it.

    In order of time each lone scale-in ends the earliest started such window of its origin that began before it.
    """
    windows: dict[str, list[_Unended]] = {}
    scale_ins: list[LoneScaleIn] = []
    for entry in entries:
        if not may_pair(entry):
            continue
        unended = _unended(entry)
        if unended:
            windows.setdefault(entry.origin, []).extend(unended)
        lone = lone_scale_in(entry)
        if lone is not None:
            scale_ins.append(lone)
    waiting = {
        origin: deque(sorted(found, key=lambda w: (w.starts_at, w.entry, w.position)))
        for origin, found in windows.items()
    }
    ended: dict[WindowId, LoneScaleIn] = {}
    for lone in sorted(scale_ins, key=lambda one: (one.at, one.entry)):
        queue = waiting.get(lone.origin, deque())
        while queue and (closed_at := queue[0].closed_at) is not None and closed_at <= lone.at:
            queue.popleft()
        if queue and queue[0].starts_at < lone.at:
            window = queue.popleft()
            ended[window.entry, window.position] = lone
    return ended


def _unended(entry: Entry) -> list[_Unended]:
    found = [
        _Unended(closed.starts_at, entry.key, closed.scale_out.position, closed.closed_at)
        for closed in entry.closed
        if not closed.end_stated
    ]
    out = entry.scale_out
    if out is not None and out.starts_at is not None and stated_end(entry) is None:
        found.append(_Unended(out.starts_at, entry.key, out.position, None))
    return found
