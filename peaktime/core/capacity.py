"""Capacity over time: what a target's entries add up to.

Pure: standard library, ``schemas.records`` and the core only; no clock, no configuration file, no I/O.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from peaktime.core.profiles import Band, Profile, Profiles, Step, Way
from peaktime.core.validity import OPEN_ENDED_FOR
from peaktime.core.windows import LoneScaleIn, WindowId, lone_scale_in, pairs, stated_end
from schemas.records import Action, Entry, RequestAction

__all__ = [
    "Band",
    "Firing",
    "LevelOf",
    "Oddity",
    "Profile",
    "Profiles",
    "Step",
    "Stretch",
    "Timeline",
    "Way",
    "Window",
    "timeline",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The half-open time in which an entry wants its scale-out level.

    Attributes:
        entry: key of the entry with the scale-out.
        starts_at: when it opens (UTC).
        ends_at: when it closes (UTC), None while nobody said.
        level: the level that it wants.
        scale_out: the action that it scales out by.
        scale_in: the action that it scales in by, None if nobody asked.
        scale_in_entry: key of the entry with that action: another entry's if that ended the window.
        cut: whether it was closed while open, by a withdrawal or a move.
        ended_since: log time of what decided its end.
    """

    entry: str
    starts_at: datetime
    ends_at: datetime | None
    level: int
    scale_out: Action
    scale_in: Action | None
    scale_in_entry: str
    cut: bool
    ended_since: datetime

    @property
    def rank(self) -> tuple[int, datetime, str, int]:
        """Of the open windows the one with the highest rank is in force.

        The position parts a cut window from the one that was asked for again in its place.
        """
        return (self.level, self.starts_at, self.entry, self.scale_out.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A run that the timeline calls for.

    Attributes:
        instant: when (UTC).
        action: SCALE_OUT or SCALE_IN.
        entry: key of the entry that holds the action.
        by: the action.
        since: log time of the last request that made it so.
        why: the reason, in words.
    """

    instant: datetime
    action: RequestAction
    entry: str
    by: Action
    since: datetime
    why: str

    @property
    def own_instant(self) -> datetime | None:
        """The instant that the action itself states."""
        return self.by.starts_at if self.action is RequestAction.SCALE_OUT else self.by.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """An unbroken time with a window open, and the one scale-in at its end, if anybody asked for one."""

    starts_at: datetime
    ends_at: datetime | None
    scale_in: Firing | None
    cut: bool

    def holds(self, instant: datetime) -> bool:
        """Whether an instant lies in it; one without length holds the instant at which it begins and ends."""
        return self.starts_at <= instant and (
            self.ends_at is None or instant < self.ends_at or instant == self.starts_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Something about an entry that people must look at: a code, the entry, words, and from when on it holds."""

    code: str
    entry: str
    message: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What a target's entries add up to over all time, in order of time."""

    windows: tuple[Window, ...]
    firings: tuple[Firing, ...]
    stretches: tuple[Stretch, ...]
    oddities: tuple[Oddity, ...]

    def in_force(self, now: datetime) -> Firing | None:
        """The scale-out that the window in force at an instant fired, None if no window is open."""
        if not any(s.starts_at <= now and (s.ends_at is None or now < s.ends_at) for s in reversed(self.stretches)):
            return None
        index = bisect_right(self.firings, now, key=lambda f: f.instant)
        return next((f for f in reversed(self.firings[:index]) if f.action is RequestAction.SCALE_OUT), None)

    def last_scale_in(self, now: datetime) -> Firing | None:
        """The scale-in that the last firing until an instant was, None if it was none."""
        index = bisect_right(self.firings, now, key=lambda f: f.instant)
        last = self.firings[index - 1] if index else None
        return last if last is not None and last.action is RequestAction.SCALE_IN else None

    def stretch_of(self, instant: datetime, entry: str) -> Stretch | None:
        """The stretch of a run: the one that its instant lies in.

        If what came later has moved the past from under it, the one of the last window of the run's entry that began
        before it; None if there is no such window any more.

        Args:
            instant: when the run fired.
            entry: key of the run's entry.
        """
        found = self._began_before(instant)
        if found is not None and found.holds(instant):
            return found
        starts = [w.starts_at for w in self.windows if w.entry == entry and w.starts_at <= instant]
        return self._began_before(max(starts)) if starts else None

    def next_change(self, now: datetime) -> datetime | None:
        """The first instant after now at which something fires, closes or becomes odd; None if nothing will."""
        index = bisect_right(self.firings, now, key=lambda f: f.instant)
        changes = [firing.instant for firing in self.firings[index : index + 1]]
        changes += [oddity.since for oddity in self.oddities]
        stretch = self._began_before(now)
        if stretch is not None and stretch.ends_at is not None:
            changes.append(stretch.ends_at)
        return min((change for change in changes if change > now), default=None)

    def first_after(self, instant: datetime) -> datetime | None:
        """The first instant after one (UTC) at which something fires; None if nothing does."""
        index = bisect_right(self.firings, instant, key=lambda f: f.instant)
        return self.firings[index].instant if index < len(self.firings) else None

    def _began_before(self, instant: datetime) -> Stretch | None:
        index = bisect_right(self.stretches, instant, key=lambda s: s.starts_at)
        return self.stretches[index - 1] if index else None


LevelOf = Callable[[Entry, Action], int | None]


def timeline(entries: Iterable[Entry], level_of: LevelOf) -> Timeline:
    """The windows, firings and stretches of one target.

    Args:
        entries: all entries of one target, in any order.
        level_of: the level that an entry's scale-out leads to; None if its profile is not known: it then has no window
            and is an oddity.
    """
    windows, alone, oddities = _windows(sorted(entries, key=lambda e: e.key), level_of)
    firings, stretches = _swept(windows, alone)
    oddities += [
        Oddity(
            code="no-end",
            entry=window.entry,
            message=f"'{window.scale_out.title}' has scaled out and nobody has said when it ends; ask for its scale-in",
            since=window.starts_at + OPEN_ENDED_FOR,
        )
        for window in windows
        if window.ends_at is None
    ]
    return Timeline(
        windows=tuple(windows),
        firings=tuple(firings),
        stretches=tuple(stretches),
        oddities=tuple(oddities),
    )


def _windows(entries: Sequence[Entry], level_of: LevelOf) -> tuple[list[Window], list[LoneScaleIn], list[Oddity]]:
    """All windows in order of time, the lone scale-ins that end none of them, and oddities."""
    ended = pairs(entries)
    windows: list[Window] = []
    oddities: list[Oddity] = []
    for entry in entries:
        windows += _cut(entry, level_of, ended)
        out, end = entry.scale_out, stated_end(entry)
        if out is None or out.starts_at is None:
            continue
        level = level_of(entry, out)
        if level is None:
            continue
        if end is not None and end[0] <= out.starts_at:
            oddities.append(_never_open(entry, out, out.starts_at, end))
            continue
        window = Window(
            entry=entry.key,
            starts_at=out.starts_at,
            ends_at=end[0] if end else None,
            level=level,
            scale_out=out,
            scale_in=entry.scale_in,
            scale_in_entry=entry.key,
            cut=False,
            ended_since=end[1].changed_at if end else out.changed_at,
        )
        windows.append(_ended(window, ended))
    used = {ended[w.entry, w.scale_out.position].entry for w in windows if (w.entry, w.scale_out.position) in ended}
    alone = [lone for entry in entries if (lone := lone_scale_in(entry)) is not None and lone.entry not in used]
    return sorted(windows, key=lambda w: (w.starts_at, w.entry, w.scale_out.position)), alone, oddities


def _cut(entry: Entry, level_of: LevelOf, ended: Mapping[WindowId, LoneScaleIn]) -> Iterator[Window]:
    """The windows of an entry that were closed while they were open."""
    for closed in entry.closed:
        level = level_of(entry, closed.scale_out)
        if level is not None:
            window = Window(
                entry=entry.key,
                starts_at=closed.starts_at,
                ends_at=closed.closed_at,
                level=level,
                scale_out=closed.scale_out,
                scale_in=closed.scale_in,
                scale_in_entry=entry.key,
                cut=True,
                ended_since=closed.closed_at,
            )
            yield _ended(window, ended)


def _ended(window: Window, ended: Mapping[WindowId, LoneScaleIn]) -> Window:
    """The window, ended by another entry's scale-in if there is one for it."""
    lone = ended.get((window.entry, window.scale_out.position))
    if lone is None:
        return window
    return replace(
        window,
        ends_at=lone.at,
        scale_in=lone.action,
        scale_in_entry=lone.entry,
        cut=False,
        ended_since=lone.action.changed_at,
    )


def _never_open(entry: Entry, out: Action, starts_at: datetime, end: tuple[datetime, Action]) -> Oddity:
    message = (
        f"'{out.title}' ends at {end[0]:%Y-%m-%d %H:%M} UTC, not after its start {starts_at:%Y-%m-%d %H:%M} UTC; "
        "it has no window until one of them is changed"
    )
    return Oddity(code="end-before-start", entry=entry.key, message=message, since=end[1].changed_at)


def _swept(windows: list[Window], alone: list[LoneScaleIn]) -> tuple[list[Firing], list[Stretch]]:
    """Go through all instants in order; the window in force and the stretch change only there."""
    starts: dict[datetime, list[Window]] = {}
    ends: dict[datetime, list[Window]] = {}
    lone: dict[datetime, list[LoneScaleIn]] = {}
    for window in windows:
        starts.setdefault(window.starts_at, []).append(window)
        if window.ends_at is not None:
            ends.setdefault(window.ends_at, []).append(window)
    for one in alone:
        lone.setdefault(one.at, []).append(one)
    sweep = _Sweep()
    for at in sorted({*starts, *ends, *lone}):
        sweep.step(at, starts.get(at, []), ends.get(at, []), lone.get(at, []))
    return sweep.firings, sweep.finish()


@dataclass(slots=True)
class _Sweep:
    """The state between two instants of the timeline."""

    firings: list[Firing] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    heap: list[_Ranked] = field(default_factory=list)
    open: int = 0
    force: Window | None = None
    begun: datetime | None = None
    closer: Firing | None = None
    closed: tuple[datetime, str, int] | None = None
    cut: bool = False

    def step(self, at: datetime, starts: list[Window], ends: list[Window], lone: list[LoneScaleIn]) -> None:
        if self.begun is None:
            self.begun, self.closer, self.closed, self.cut = at, None, None, False
        self.open += len(starts) - len(ends)
        for window in starts:
            heapq.heappush(self.heap, _Ranked(window))
        while self.heap and self.heap[0].closed(at):
            heapq.heappop(self.heap)
        for window in ends:
            self.cut = self.cut or window.cut
            if window.scale_in is not None:
                since = max(window.ended_since, window.scale_in.changed_at)
                rank = (at, window.entry, window.scale_out.position)
                self._asked(rank, _scale_in(at, window.scale_in_entry, window.scale_in, since))
        for one in lone:
            rank = (at, one.entry, one.action.position)
            self._asked(rank, _scale_in(at, one.entry, one.action, one.action.changed_at))
        top = self.heap[0].window if self.heap else None
        if top is not None and top is not self.force:
            self.firings.append(_scale_out(at, top, ends))
        self.force = top
        if self.open == 0:
            self._close(at)

    def _asked(self, rank: tuple[datetime, str, int], scale_in: Firing) -> None:
        """Keep the scale-in of the window that closed last, ties by key, then by position."""
        if self.closed is None or rank > self.closed:
            self.closed, self.closer = rank, scale_in

    def _close(self, at: datetime) -> None:
        scale_in = replace(self.closer, instant=at) if self.closer is not None else None
        if scale_in is not None:
            self.firings.append(scale_in)
        self.stretches.append(Stretch(starts_at=self.begun or at, ends_at=at, scale_in=scale_in, cut=self.cut))
        self.begun = None

    def finish(self) -> list[Stretch]:
        """All stretches, with the one that is still open."""
        if self.begun is None:
            return self.stretches
        return [*self.stretches, Stretch(starts_at=self.begun, ends_at=None, scale_in=None, cut=self.cut)]


def _scale_out(at: datetime, window: Window, ends: list[Window]) -> Firing:
    since, why = window.scale_out.changed_at, "its window opens"
    if window.starts_at != at:
        since = max([since, *(w.ended_since for w in ends)])
        why = "a stronger window closed and it is in force again"
    return Firing(
        instant=at,
        action=RequestAction.SCALE_OUT,
        entry=window.entry,
        by=window.scale_out,
        since=since,
        why=why,
    )


def _scale_in(at: datetime, entry: str, action: Action, since: datetime) -> Firing:
    why = "the last open window closes"
    return Firing(instant=at, action=RequestAction.SCALE_IN, entry=entry, by=action, since=since, why=why)


@dataclass(slots=True)
class _Ranked:
    """A window in the heap of open windows: the highest rank first."""

    window: Window

    def __lt__(self, other: _Ranked) -> bool:
        return self.window.rank > other.window.rank

    def closed(self, at: datetime) -> bool:
        """Whether the window is over at an instant."""
        return self.window.ends_at is not None and self.window.ends_at <= at
