"""Capacity over time: what a target's entries add up to.

Pure: standard library and ``schemas.records`` only; no clock, no configuration file, no I/O.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from peaktime.core.requests import OPEN_ENDED_FOR, stated_end
from schemas.records import Action, Entry, RequestAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One service's part of a run: a reference to a template of a WorkflowTemplate.

    Attributes:
        service: the service's name, used as the step's name.
        workflow_template: ``metadata.name`` of the WorkflowTemplate.
        template: the template within it.
        parameters: further arguments of the template.
    """

    service: str
    workflow_template: str
    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One direction of a profile: the level that it leads to and its stages, one after the other.

    The members of a stage run in parallel.
    """

    level: int
    stages: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Target + day + band: how it scales out and in.

    Attributes:
        scale_out: leads to the profile's level.
        scale_in: leads back; its level is what capacity returns to.
        namespace: where the objects go; empty for the worker's default.
        service_account: service account of the runs; empty for the cluster's default.
        ttl_seconds: how long a finished Workflow stays.
        starting_deadline_seconds: ``startingDeadlineSeconds`` of the CronWorkflow.
        expected_seconds: a run that takes longer is SLOW, and no longer holds up others.
    """

    target: str
    day: str
    band: str
    scale_out: Way
    scale_in: Way
    namespace: str = ""
    service_account: str = ""
    ttl_seconds: int = 7 * 24 * 3600
    starting_deadline_seconds: int = 300
    expected_seconds: int = 600

    @property
    def name(self) -> str:
        """``infra-mon-night``."""
        return f"{self.target}-{self.day}-{self.band}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A time of day and its hours, in minutes after local midnight; an end not after the start is tomorrow's."""

    name: str
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles, by name, with the zone and the bands that they share."""

    zone: str
    bands: Mapping[str, Band]
    by_name: Mapping[str, Profile]

    def find(self, target: str, day: str, band: str) -> Profile | None:
        """The profile of a target, day and band, if there is one."""
        return self.by_name.get(f"{target}-{day}-{band}")


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

    def stretch_of(self, instant: datetime) -> Stretch | None:
        """The last stretch that began at or before an instant."""
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
    found, lone, oddities = _windows(sorted(entries, key=lambda e: e.key), level_of)
    windows, alone = _paired(found, lone)
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
        windows=tuple(windows), firings=tuple(firings), stretches=tuple(stretches), oddities=tuple(oddities)
    )


@dataclass(frozen=True, slots=True)
class _Alone:
    """A scale-in without a window of its own."""

    at: datetime
    entry: str
    origin: str
    action: Action


def _windows(
    entries: Sequence[Entry], level_of: LevelOf
) -> tuple[list[tuple[Window, str, bool]], list[_Alone], list[Oddity]]:
    """Each entry's own windows (its origin, and whether another's scale-in may end it), lone scale-ins, oddities."""
    windows: list[tuple[Window, str, bool]] = []
    alone: list[_Alone] = []
    oddities: list[Oddity] = []
    for entry in entries:
        key = entry.key
        for closed in entry.closed:
            level = level_of(entry, closed.scale_out)
            if level is not None:
                window = Window(
                    entry=key,
                    starts_at=closed.starts_at,
                    ends_at=closed.closed_at,
                    level=level,
                    scale_out=closed.scale_out,
                    scale_in=closed.scale_in,
                    scale_in_entry=key,
                    cut=True,
                    ended_since=closed.closed_at,
                )
                windows.append((window, entry.origin, not closed.end_stated))
        out, in_ = entry.scale_out, entry.scale_in
        if out is None or out.starts_at is None:
            if in_ is not None and in_.ends_at is not None:
                alone.append(_Alone(in_.ended_at or in_.ends_at, key, entry.origin, in_))
            continue
        level = level_of(entry, out)
        end = stated_end(entry)
        if level is None:
            continue
        if end is not None and end[0] <= out.starts_at:
            oddities.append(
                Oddity(
                    code="end-before-start",
                    entry=key,
                    message=(
                        f"'{out.title}' ends at {end[0]:%Y-%m-%d %H:%M} UTC, not after its start "
                        f"{out.starts_at:%Y-%m-%d %H:%M} UTC; it has no window until one of them is changed"
                    ),
                    since=end[1].changed_at,
                )
            )
            continue
        window = Window(
            entry=key,
            starts_at=out.starts_at,
            ends_at=end[0] if end else None,
            level=level,
            scale_out=out,
            scale_in=in_,
            scale_in_entry=key,
            cut=False,
            ended_since=end[1].changed_at if end else out.changed_at,
        )
        windows.append((window, entry.origin, end is None))
    return windows, alone, oddities


def _paired(found: list[tuple[Window, str, bool]], alone: list[_Alone]) -> tuple[list[Window], list[_Alone]]:
    """Windows without a stated end, each ended by the first lone scale-in of its origin after its start."""
    windows = [window for window, _, unended in found if not unended]
    waiting = sorted(
        ((w, origin) for w, origin, unended in found if unended), key=lambda x: (x[0].starts_at, x[0].entry)
    )
    left: list[_Alone] = []
    for one in sorted(alone, key=lambda a: (a.at, a.entry)):
        for index, (window, origin) in enumerate(waiting):
            if window.starts_at >= one.at:
                index = len(waiting)
                break
            if origin == one.origin and (window.ends_at is None or one.at < window.ends_at):
                break
        else:
            index = len(waiting)
        if index == len(waiting):
            left.append(one)
            continue
        window, _ = waiting.pop(index)
        windows.append(
            replace(
                window,
                ends_at=one.at,
                scale_in=one.action,
                scale_in_entry=one.entry,
                cut=False,
                ended_since=one.action.changed_at,
            )
        )
    windows += [window for window, _ in waiting]
    return sorted(windows, key=lambda w: (w.starts_at, w.entry)), left


def _swept(windows: list[Window], alone: list[_Alone]) -> tuple[list[Firing], list[Stretch]]:
    """Go through all instants in order; the window in force and the stretch change only there."""
    starts: dict[datetime, list[Window]] = {}
    ends: dict[datetime, list[Window]] = {}
    lone: dict[datetime, list[_Alone]] = {}
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
    cut: bool = False

    def step(self, at: datetime, starts: list[Window], ends: list[Window], lone: list[_Alone]) -> None:
        if self.begun is None:
            self.begun, self.closer, self.cut = at, None, False
        self.open += len(starts) - len(ends)
        for window in starts:
            heapq.heappush(self.heap, _Ranked(window))
        while self.heap and self.heap[0].closed(at):
            heapq.heappop(self.heap)
        for window in ends:
            self.cut = self.cut or window.cut
            if window.scale_in is not None:
                since = max(window.ended_since, window.scale_in.changed_at)
                self.closer = _later(self.closer, _scale_in(at, window.scale_in_entry, window.scale_in, since))
        for one in lone:
            self.closer = _later(self.closer, _scale_in(at, one.entry, one.action, one.action.changed_at))
        top = self.heap[0].window if self.heap else None
        if top is not None and top is not self.force:
            self.firings.append(_scale_out(at, top, ends))
        self.force = top
        if self.open == 0:
            self._close(at)

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
        instant=at, action=RequestAction.SCALE_OUT, entry=window.entry, by=window.scale_out, since=since, why=why
    )


def _scale_in(at: datetime, entry: str, action: Action, since: datetime) -> Firing:
    why = "the last open window closes"
    return Firing(instant=at, action=RequestAction.SCALE_IN, entry=entry, by=action, since=since, why=why)


def _later(one: Firing | None, other: Firing) -> Firing:
    """Of two that asked for the scale-in the one that closed last, ties by key."""
    return other if one is None or (other.instant, other.entry) > (one.instant, one.entry) else one


@dataclass(slots=True)
class _Ranked:
    """A window in the heap of open windows: the highest rank first."""

    window: Window

    def __lt__(self, other: _Ranked) -> bool:
        return self.window.rank > other.window.rank

    def closed(self, at: datetime) -> bool:
        """Whether the window is over at an instant."""
        return self.window.ends_at is not None and self.window.ends_at <= at
