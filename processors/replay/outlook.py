"""What is to come, in rows: the firings of a target, and where one event stands in the timeline.

Pure. It asks the core what is desired and shows it. Must not: decide anything, or look at the cluster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from peaktime.core.capacity import Firing, Timeline, Window
from peaktime.core.desired import Desired, Run, begun_instants, desired, run_of
from peaktime.core.outcomes import Facts
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from peaktime.core.wording import instant as shown
from peaktime.core.wording import profile as profile_name
from processors.replay.standing import pause_of
from schemas.records import FactState, Pause, RequestAction

#: What a firing's state says where no fact does.
OWED, TO_COME, UNKNOWN_PROFILE, NO_REPORT = "owed", "to come", "unknown profile", "no report"


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringRow:
    """One firing, for people and programs.

    Attributes:
        at: when (UTC).
        action: SCALE_OUT or SCALE_IN.
        profile: ``infra-mon-night``.
        level: to which level it leads; None if its profile is not configured.
        entry: key of the event.
        run: name of its Workflow; empty if its profile is not configured.
        state: what its fact says in lower case (scheduled, started, succeeded, ...), or owed, to come, unknown
            profile; no report for a past one that nothing is known of (any more).
    """

    at: datetime
    target: str
    action: RequestAction
    profile: str
    level: int | None
    entry: str
    event_date: str
    title: str
    owner: str
    why: str
    run: str
    cron_workflow: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """A time in which one window decides the level; the end is None while it is not known."""

    starts_at: datetime
    ends_at: datetime | None
    entry: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One target as its entries, its facts and the profiles show it at an instant.

    Attributes:
        want: what should be.
        firings: all that the timeline calls for, in order of time.
        force: which window is in force when, in order of time.
        pause: who paused the target, if it is paused.
    """

    target: str
    now: datetime
    want: Desired
    entries: Entries
    facts: Facts
    firings: tuple[FiringRow, ...]
    force: tuple[Force, ...]
    pause: Pause | None

    def between(self, first: datetime, last: datetime) -> list[FiringRow]:
        """The firings from an instant on and before another."""
        return [row for row in self.firings if first <= row.at < last]

    def stays(self) -> list[datetime]:
        """When the last open window of a stretch will close and capacity stays: nobody asked for a scale-in."""
        stretches = self.want.timeline.stretches
        return [s.ends_at for s in stretches if s.ends_at is not None and s.ends_at > self.now and s.scale_in is None]

    def level_before(self, moment: datetime) -> int:
        """The level that the last firing before an instant led to; everyday capacity (0) if there was none."""
        return next((row.level for row in reversed(self.firings) if row.at < moment and row.level is not None), 0)


def outlook(
    target: str,
    entries: Entries,
    facts: Facts,
    profiles: Profiles,
    now: datetime,
    *,
    grace: timedelta,
) -> Outlook:
    """How a target stands; the arguments are those of ``peaktime.core.desired.desired``."""
    want = desired(target, entries, facts, profiles, now, grace=grace)
    begun = begun_instants(facts)
    rows = [
        _row(firing, run_of(firing, entries, profiles, begun), entries, facts, want, now)
        for firing in want.timeline.firings
    ]
    for run in (want.owed, want.again):
        if run is not None and all(row.run != run.workflow for row in rows):
            rows.append(_row(run.firing, run, entries, facts, want, now))
    return Outlook(
        target=target,
        now=now,
        want=want,
        entries=entries,
        facts=facts,
        firings=tuple(sorted(rows, key=lambda row: (row.at, row.action is RequestAction.SCALE_OUT, row.run))),
        force=tuple(in_force(want.timeline)),
        pause=pause_of(entries),
    )


def _row(
    firing: Firing,
    run: Run | None,
    entries: Entries,
    facts: Facts,
    want: Desired,
    now: datetime,
) -> FiringRow:
    entry = entries.by_key[firing.entry]
    return FiringRow(
        at=firing.instant,
        target=entry.target,
        action=firing.action,
        profile=profile_name(entry.target, firing.by.day, firing.by.band),
        level=run.way.level if run is not None else None,
        entry=firing.entry,
        event_date=entry.event_date,
        title=firing.by.title,
        owner=firing.by.owner,
        why=firing.why,
        run=run.workflow if run is not None else "",
        cron_workflow=run.name if run is not None else "",
        state=_state(firing, run, facts, want, now),
    )


def _state(firing: Firing, run: Run | None, facts: Facts, want: Desired, now: datetime) -> str:
    if run is None:
        return UNKNOWN_PROFILE
    fact = facts.by_subject.get(run.subject)
    if run.workflow in {owed.workflow for owed in (want.owed, want.again) if owed is not None}:
        return OWED
    if fact is None or (fact.state in (FactState.REMOVED, FactState.MISSED) and firing.instant > now):
        return TO_COME if firing.instant > now else NO_REPORT
    return fact.state.lower()


def in_force(line: Timeline) -> Iterator[Force]:
    """Which window of a timeline is in force when, in order of time."""
    outs = [firing for firing in line.firings if firing.action is RequestAction.SCALE_OUT]
    closes = [stretch.ends_at for stretch in line.stretches if stretch.ends_at is not None]
    for number, firing in enumerate(outs):
        index = bisect_right(closes, firing.instant)
        ends = [*(out.instant for out in outs[number + 1 : number + 2]), *closes[index : index + 1]]
        yield Force(
            starts_at=firing.instant,
            ends_at=min(ends, default=None),
            entry=firing.entry,
            position=firing.by.position,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOutlook:
    """Where one event stands.

    Attributes:
        windows: each as its start, its end, its level, and in words whether it is in force.
        firings: the ones of this event that are to come, or owed.
        problems: what is wrong about it, in words.
        stays_at: when its last window closes and capacity stays, because nobody asked for a scale-in; mostly None.
        step: what comes next; empty if nothing does.
        step_at: when; None if nothing comes, or if nobody can say.
    """

    windows: tuple[tuple[Window, str], ...]
    firings: tuple[FiringRow, ...]
    problems: tuple[str, ...]
    stays_at: datetime | None
    step: str
    step_at: datetime | None


def event_outlook(whole: Outlook, key: str, zone: str, *, grace: timedelta) -> EventOutlook:
    """Where an event stands in the outlook of its target.

    Args:
        whole: of the target.
        key: the entry's key.
        zone: IANA zone of words.
        grace: how long a run that is due may take to show.
    """
    line, now = whole.want.timeline, whole.now
    windows = tuple((window, window_told(window, whole)) for window in line.windows if window.entry == key)
    firings = tuple(row for row in whole.firings if row.entry == key and (row.at > now or row.state == OWED))
    problems = {problem.message: None for problem in whole.want.problems if problem.entry == key}
    for subject, fact in sorted(whole.facts.by_subject.items()):
        if subject.startswith("problem/") and fact.state is FactState.OPEN and fact.outcome.entry == key:
            problems[fact.outcome.message] = None
    step_at, step = _next(whole, key, windows, firings, zone, grace)
    return EventOutlook(
        windows=windows,
        firings=firings,
        problems=tuple(problems),
        stays_at=next((at for at in whole.stays() if any(_holds(whole, at, window) for window, _ in windows)), None),
        step=step,
        step_at=step_at,
    )


def _holds(whole: Outlook, end: datetime, window: Window) -> bool:
    """Whether the stretch that ends at an instant holds a window."""
    stretch = next(s for s in whole.want.timeline.stretches if s.ends_at == end)
    return stretch.holds(window.starts_at)


def window_told(window: Window, whole: Outlook) -> str:
    """Whether a window is in force, in words."""
    now = whole.now
    if window.ends_at is not None and window.ends_at <= now:
        return "over, cut short" if window.cut else "over"
    if window.starts_at > now:
        at_start = _forcing(whole, window.starts_at)
        stronger = at_start is not None and not _same(at_start, window)
        return f"to come, under {at_start.entry}" if at_start is not None and stronger else "to come"
    force = _forcing(whole, now)
    if force is None or _same(force, window):
        return "in force"
    return f"open, not in force: {force.entry} is"


def _forcing(whole: Outlook, at: datetime) -> Force | None:
    index = bisect_right(whole.force, at, key=lambda force: force.starts_at)
    last = whole.force[index - 1] if index else None
    return last if last is not None and (last.ends_at is None or at < last.ends_at) else None


def _same(force: Force, window: Window) -> bool:
    return (force.entry, force.position) == (window.entry, window.scale_out.position)


def _next(
    whole: Outlook,
    key: str,
    windows: tuple[tuple[Window, str], ...],
    firings: tuple[FiringRow, ...],
    zone: str,
    grace: timedelta,
) -> tuple[datetime | None, str]:
    """The next thing that happens to an event, and when."""
    now = whole.now
    if whole.pause is not None and (firings or any(w.ends_at is None or w.ends_at > now for w, _ in windows)):
        return None, f"nothing while {whole.target} is paused by {whole.pause.owner or 'an operator'}"
    owed, again = whole.want.owed, whole.want.again
    if again is not None and again.entry.key == key:
        return now, f"{told(again.firing.action)} to level {again.way.level} once more, as {again.workflow}"
    if owed is not None and owed.entry.key == key:
        due = max(owed.instant, owed.firing.since) + grace
        what = f"{told(owed.firing.action)} to level {owed.way.level} is owed since {shown(owed.instant, zone)}"
        return max(due, now), f"{what}; it is started as {owed.workflow} unless it shows before"
    steps = [
        (row.at, 0, f"{told(row.action)} {row.profile}" + (f" to level {row.level}" if row.level is not None else ""))
        for row in firings
    ]
    for window, standing in windows:
        if window.starts_at > now:
            steps.append((window.starts_at, 1, f"its window opens ({standing})"))
        elif window.ends_at is not None and window.ends_at > now:
            steps.append((window.ends_at, 1, "its window closes, and nothing fires for it"))
    if steps:
        at, _, what = min(steps)
        return at, what
    if any(window.ends_at is None for window, _ in windows):
        return None, "nothing until somebody says when it ends"
    return None, ""


def told(action: RequestAction) -> str:
    """``scale-out``."""
    return action.lower().replace("_", "-")
