"""What a timeline picture shows, as plain values: lanes with windows, levels and marks; no pixel, no colour.

Pure. ``schedule_chart`` draws from an outlook; ``processors.replay.month`` makes the same values from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from peaktime.core import wording
from peaktime.core.capacity import Window
from processors.replay.outlook import FiringRow, Force, Outlook, told
from schemas.records import RequestAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One window of an event.

    Attributes:
        label: short words to stand in it or beside it.
        tip: all there is to say of it.
        ends_at: None while it is not known.
        force: the parts of it in which it decides the level.
    """

    label: str
    tip: str
    starts_at: datetime
    ends_at: datetime | None
    level: int
    cut: bool = False
    force: tuple[tuple[datetime, datetime | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """From an instant on, a level."""

    at: datetime
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something at an instant.

    Attributes:
        shape: out, in, delete, problem or other: what it is about.
        look: a verdict or a state, by which it is coloured.
    """

    at: datetime
    shape: str
    look: str
    tip: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of marks with a name."""

    name: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One target.

    Attributes:
        note: beside its name: that it is paused.
        planned: the levels that the timeline calls for, from the beginning of the picture on.
        ran: the levels that runs led to; None if the picture is not about them.
        known_until: where what is known of runs ends; None for not in the picture.
        above: marks above the windows.
        below: marks between the windows and the levels.
    """

    target: str
    note: str = ""
    bars: tuple[Bar, ...] = ()
    planned: tuple[Step, ...] = ()
    ran: tuple[Step, ...] | None = None
    known_until: datetime | None = None
    above: tuple[Strip, ...] = ()
    below: tuple[Strip, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture's content.

    Attributes:
        first: its left edge (UTC).
        last: its right edge (UTC).
        zone: IANA zone of its axis.
        line: an instant that is marked by a line, with its name; None for none.
    """

    title: str
    zone: str
    first: datetime
    last: datetime
    lanes: tuple[Lane, ...]
    line: tuple[datetime, str] | None = None


def schedule_chart(outlooks: Iterable[Outlook], *, zone: str, first: datetime, last: datetime, now: datetime) -> Chart:
    """What will scale when.

    Args:
        outlooks: the targets, in order.
        zone: IANA zone of the axis.
        first: left edge (UTC).
        last: right edge (UTC).
        now: the time (UTC).
    """
    lanes = [_lane(whole, zone, first, last) for whole in outlooks]
    return Chart(
        title=f"What scales when, {span_told(first, last, zone)}",
        zone=zone,
        first=first,
        last=last,
        lanes=tuple(lanes),
        line=(now, "now"),
    )


def _lane(whole: Outlook, zone: str, first: datetime, last: datetime) -> Lane:
    firings = whole.between(first, last)
    marks = [
        Mark(at=row.at, shape=shape_of(row.action), look=row.state, tip=_firing_told(row, zone)) for row in firings
    ]
    return Lane(
        target=whole.target,
        note=f"paused by {whole.pause.owner}" if whole.pause is not None else "",
        bars=tuple(bars(whole.want.timeline.windows, whole.force, zone, first, last)),
        planned=levels(whole.level_before(first), ((row.at, row.level) for row in firings), first),
        below=(Strip("firings", tuple(marks)),),
    )


def _firing_told(row: FiringRow, zone: str) -> str:
    level = f" to level {row.level}" if row.level is not None else ""
    what = f"{wording.instant(row.at, zone)} {told(row.action)} {row.profile}{level}"
    return f"{what}, {row.title!r} ({row.entry}): {row.why}" + (f"; {row.state}" if row.state else "")


def bars(
    windows: Iterable[Window],
    force: Iterable[Force],
    zone: str,
    first: datetime,
    last: datetime,
) -> Iterable[Bar]:
    """The windows that touch a time, as bars, in order of time."""
    by_window: dict[tuple[str, int], list[Force]] = {}
    for part in force:
        by_window.setdefault((part.entry, part.position), []).append(part)
    for window in windows:
        if window.starts_at >= last or (window.ends_at is not None and window.ends_at <= first):
            continue
        mine = tuple(
            (part.starts_at, part.ends_at)
            for part in by_window.get((window.entry, window.scale_out.position), ())
            if window.ends_at is None or part.starts_at < window.ends_at
        )
        title = wording.one_line(window.scale_out.title, 40) or window.entry
        span = wording.window(window.starts_at, window.ends_at, zone).removesuffix(f" ({zone})")
        cut = ", cut short" if window.cut else ""
        yield Bar(
            label=f"{title}  {_hours(window, zone)}".rstrip(),
            tip=f"{title} ({window.entry}), {span}{cut}, level {window.level}",
            starts_at=window.starts_at,
            ends_at=window.ends_at,
            level=window.level,
            cut=window.cut,
            force=mine,
        )


def overlaps(bars: Sequence[Bar], last: datetime) -> list[tuple[datetime, datetime]]:
    """The times in which two windows or more are open, in order; one without an end is open until ``last``."""
    changes = sorted(
        [(bar.starts_at, 1) for bar in bars] + [(max(bar.ends_at or last, bar.starts_at), -1) for bar in bars],
    )
    found: list[tuple[datetime, datetime]] = []
    count, since = 0, None
    for at, change in changes:
        count += change
        if count > 1 and since is None:
            since = at
        elif count <= 1 and since is not None:
            found.append((since, at))
            since = None
    return found


def _hours(window: Window, zone: str) -> str:
    """``09:00-12:00``, or the start alone if it ends on another day."""
    here = ZoneInfo(zone)
    begin = window.starts_at.astimezone(here)
    if window.ends_at is None:
        return f"{begin:%H:%M}-?"
    end = window.ends_at.astimezone(here)
    return f"{begin:%H:%M}-{end:%H:%M}" if begin.date() == end.date() else f"{begin:%H:%M} to {end:%m-%d %H:%M}"


def levels(before: int, changes: Iterable[tuple[datetime, int | None]], first: datetime) -> tuple[Step, ...]:
    """A step line from ``first`` on: the level before, and each change; what leads to no known level changes none."""
    steps = [Step(first, before)]
    steps += [Step(at, level) for at, level in changes if level is not None]
    return tuple(steps)


def shape_of(action: RequestAction) -> str:
    """The shape of a mark about an action."""
    shapes = {RequestAction.SCALE_OUT: "out", RequestAction.SCALE_IN: "in", RequestAction.DELETE: "delete"}
    return shapes.get(action, "other")


def span_told(first: datetime, last: datetime, zone: str) -> str:
    """``Mon 2026-05-04 to Sun 2026-05-10 (Asia/Seoul)``; the last day is the one that the end closes."""
    here = ZoneInfo(zone)
    begin, end = first.astimezone(here), last.astimezone(here)
    if begin.time() == end.time() == begin.time().min:
        closing = end.date().fromordinal(end.date().toordinal() - 1)
        return f"{wording.days(begin.date(), closing)} ({zone})"
    return f"{wording.instant(first, zone)} to {wording.instant(last, zone)} ({zone})"
