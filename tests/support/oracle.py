"""What capacity should be, worked out the slow way: look at every half minute by itself, with no cleverness.

Written from the rules alone; it must not import anything from capacity, desired or plan.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.records import Action, Entry

TICK = timedelta(seconds=30)


@dataclass(frozen=True)
class Open:
    """One window: from when to when (None: nobody knows), how high, and who asked for what."""

    key: str
    starts: datetime
    ends: datetime | None
    level: int
    out: Action
    back: tuple[str, Action] | None

    def open_at(self, instant: datetime) -> bool:
        return self.starts <= instant and (self.ends is None or instant < self.ends)


@dataclass(frozen=True)
class Fired:
    """What happens at an instant: the request that is carried out, out or in."""

    instant: datetime
    out: bool
    key: str
    request: str


@dataclass(frozen=True)
class Looked:
    """What was found: who is in force at every tick, what fires, and what fired at the end of each stretch."""

    in_force: dict[datetime, Open | None]
    fired: list[Fired]
    stretches: list[tuple[datetime, datetime | None, Fired | None]]


def windows_of(
    entries: Iterable[Entry],
    level_of: Callable[[Entry, Action], int | None],
) -> tuple[list[Open], list[tuple[datetime, str, Action]]]:
    """All windows, and the scale-ins that have none."""
    entries = list(entries)
    raw = []  # (entry, starts, ends, stated, out, back)
    lone = []
    for entry in entries:
        raw += [
            (entry, c.starts_at, c.closed_at, c.end_stated, c.scale_out, c.scale_in and (entry.key, c.scale_in))
            for c in entry.closed
        ]
        out, back = entry.scale_out, entry.scale_in
        if out is None:
            if back is not None:
                lone.append((back.ended_at or back.ends_at, entry, back))
            continue
        stating = [action for action in (out, back) if action is not None and action.ends_at is not None]
        stating.sort(key=lambda action: action.position)
        ends = (stating[-1].ended_at or stating[-1].ends_at) if stating else None
        raw.append((entry, out.starts_at, ends, bool(stating), out, back and (entry.key, back)))
    ended = {}
    alone = []
    for instant, entry, back in sorted(lone, key=lambda one: (one[0], one[1].key)):
        fitting = [
            number
            for number, (other, starts, ends, stated, _, _) in enumerate(raw)
            if not stated
            and number not in ended
            and other.origin == entry.origin
            and starts < instant
            and (ends is None or instant < ends)
        ]
        if fitting:
            first = min(fitting, key=lambda number: (raw[number][1], raw[number][0].key, raw[number][4].position))
            ended[first] = (instant, (entry.key, back))
            if level_of(raw[first][0], raw[first][4]) is not None:
                continue
        alone.append((instant, entry.key, back))
    found = []
    for number, (entry, starts, closes, _, out, asked) in enumerate(raw):
        level = level_of(entry, out)
        if level is None:
            continue
        ends, back = ended.get(number, (closes, asked))
        cut = out is not entry.scale_out
        if ends is not None and (ends < starts or (ends == starts and not cut)):
            continue
        found.append(Open(entry.key, starts, ends, level, out, back))
    return found, alone


def look(
    entries: Iterable[Entry],
    level_of: Callable[[Entry, Action], int | None],
    begin: datetime,
    end: datetime,
) -> Looked:
    """Go through every tick from begin to end."""
    windows, alone = windows_of(entries, level_of)
    in_force: dict[datetime, Open | None] = {}
    fired: list[Fired] = []
    stretches: list[tuple[datetime, datetime | None, Fired | None]] = []
    asked: list[tuple[datetime, str, int, str, Action]] = []
    before, began, instant = None, None, begin
    while instant <= end:
        opened = [window for window in windows if window.open_at(instant)]
        force = max(opened, key=lambda w: (w.level, w.starts, w.key, w.out.position), default=None)
        in_force[instant] = force
        closing = [window for window in windows if window.ends == instant]
        here = [one for one in alone if one[0] == instant]
        asked += [(instant, w.key, w.out.position, *w.back) for w in closing if w.back is not None]
        asked += [(instant, key, action.position, key, action) for _, key, action in here]
        if began is None and (opened or closing or here):
            began = instant
        if force is not None and force is not before:
            fired.append(Fired(instant, out=True, key=force.key, request=force.out.request_id))
        if began is not None and not opened:
            last = max(asked, key=lambda one: one[:3], default=None)
            back = last and Fired(instant, out=False, key=last[3], request=last[4].request_id)
            if back is not None:
                fired.append(back)
            stretches.append((began, instant, back))
            began, asked = None, []
        before = force
        instant += TICK
    if began is not None:
        stretches.append((began, None, None))
    return Looked(in_force, fired, stretches)
