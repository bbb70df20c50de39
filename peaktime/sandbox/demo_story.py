"""The demo's timeline: what happens, as lines for people, each after the one that it follows from.

Pure: it turns records, changes of the cluster and steps of the stand-in into lines. Topics are read side by side, so a
verdict may be seen before its request: a line waits until the line that it needs has been told. Must not: print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.cells import set_cell_size
from rich.text import Text

from peaktime.core import wording
from peaktime.core.runs import ACTION, REQUEST, TITLE
from peaktime.sandbox.demo_cluster import Change
from peaktime.sandbox.demo_topics import Seen
from schemas.records import (
    CalendarSnapshot,
    CalendarState,
    Delivery,
    Entry,
    Fact,
    FactState,
    Notification,
    NotificationKind,
    Peak,
    RequestAction,
    ScaleRequest,
    VerdictKind,
)

_TITLE_CELLS = 28
_NARROW, _NARROW_TITLE_CELLS = 120, 18
KINDS = {
    "calendar": "magenta",
    "peak": "magenta",
    "request": "cyan",
    "refused": "red",
    "verdict": "blue",
    "CronWorkflow": "green",
    "clock": "dim",
    "run": "bold yellow",
    "message": "white",
    "problem": "bold red",
    "note": "dim",
}
_KIND_CELLS = max(map(len, KINDS))
_ACTIONS = {
    RequestAction.SCALE_OUT: "scale-out",
    RequestAction.SCALE_IN: "scale-in",
    RequestAction.DELETE: "withdrawal",
}
_VERBS = {"create": "scale-out", "delete": "scale-in"}
_RUNS = {
    FactState.STARTED: "started",
    FactState.SUCCEEDED: "succeeded",
    FactState.FAILED: "FAILED",
    FactState.ENDED: "over, result unknown",
    FactState.MISSED: "MISSED",
}
_BAD = {VerdictKind.REJECTED, VerdictKind.STALE, FactState.FAILED, FactState.ENDED, FactState.MISSED}
_SMALL_SKIP = timedelta(minutes=1)

_Need = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the timeline.

    Attributes:
        kind: one of `KINDS`.
        title: which event it is about; empty if none.
        text: what happened.
        needs: what must have been told before.
        gives: what is told by it.
        bad: whether it deserves attention.
    """

    kind: str
    title: str = ""
    text: str = ""
    needs: tuple[_Need, ...] = ()
    gives: tuple[_Need, ...] = ()
    bad: bool = False


@dataclass
class Story:
    """Turns what is seen into lines.

    Attributes:
        zone: IANA zone in which times are written.
        files: by request id, the file that a request came from.
        notes: by request id, what was assumed about it.
    """

    zone: str
    files: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    _told: set[_Need] = field(default_factory=set)
    _held: list[Line] = field(default_factory=list)
    _halves: dict[tuple[str, str], tuple[Line, str]] = field(default_factory=dict)
    _titles: dict[str, str] = field(default_factory=dict)
    _peaks: dict[tuple[str, str], bool] = field(default_factory=dict)

    def record(self, seen: Seen) -> list[Line]:
        """What a record adds to the timeline."""
        return self._released(self._of_record(seen))

    def change(self, change: Change) -> list[Line]:
        """What a change of the cluster adds to it."""
        return self._released(self._of_change(change))

    def step(self, step: Mapping[str, Any]) -> list[Line]:
        """What a step of the stand-in for Argo adds to it; runs are told from the topics."""
        match step.get("event"):
            case "advanced":
                skipped = _skipped(str(step.get("message", "")))
                if skipped < _SMALL_SKIP:
                    return []
                text = f"put forward by {wording.length(skipped)} to {self._at(datetime.fromisoformat(step['at']))}"
                return self._released(iter([Line(kind="clock", text=text)]))
            case "error" | "skipped" as event:
                about = step.get("workflow") or step.get("cronWorkflow") or ""
                text = f"stand-in for Argo: {event} {about} {step.get('message', '')}"
                return self._released(iter([Line(kind="problem", text=text, bad=True)]))
        return []

    def flush(self) -> list[Line]:
        """What was held back and need not be any more."""
        halves = [line for line, _ in self._halves.values()]
        self._halves.clear()
        held, self._held = [*self._held, *halves], []
        self._told.update(give for line in held for give in line.gives)
        return held

    def _released(self, lines: Iterator[Line]) -> list[Line]:
        self._held.extend(lines)
        free: list[Line] = []
        while True:
            ready = next((line for line in self._held if self._told.issuperset(line.needs)), None)
            if ready is None:
                return free
            self._held.remove(ready)
            self._told.update(ready.gives)
            free.append(ready)

    def _of_record(self, seen: Seen) -> Iterator[Line]:
        match seen.record:
            case CalendarSnapshot() as snapshot:
                yield self._snapshot(snapshot)
            case CalendarState() as state:
                yield from self._state(state)
            case ScaleRequest() as request:
                yield from self._request(request, seen)
            case Entry() as entry:
                yield from self._verdict(entry, seen)
            case Fact() as fact:
                yield from self._fact(fact)
            case Notification() as notification:
                yield self._message(notification)
            case Delivery() as delivery:
                self._told.add(("delivered", delivery.notification_id))
            case None if seen.topic == "dead-letters":
                yield Line(kind="problem", text=f"dead letter: {_said(seen)}", bad=True)

    def _snapshot(self, snapshot: CalendarSnapshot) -> Line:
        gives = (("snapshot", snapshot.calendar_id),)
        if snapshot.refused:
            text = f"feed refused: {snapshot.refused}"
            return Line(kind="calendar", title=snapshot.calendar_id, text=text, gives=gives, bad=True)
        span = f"{snapshot.covers_from} to {snapshot.covers_to}"
        text = f"{len(snapshot.days)} special days of {span} from {snapshot.source}"
        return Line(kind="calendar", title=snapshot.calendar_id, text=text, gives=gives)

    def _state(self, state: CalendarState) -> Iterator[Line]:
        needs = (("snapshot", state.calendar_id),)
        for peak in state.peaks:
            told = state.calendar_id, peak.event_date.isoformat()
            if self._peaks.get(told) == peak.withdrawn:
                continue
            self._peaks[told] = peak.withdrawn
            yield Line(kind="peak", title=title_of(peak), text=peak_text(peak), needs=needs)
        yield Line(
            kind="calendar",
            title=state.calendar_id,
            text=f"peaks that follow: {len(state.peaks)}",
            needs=needs,
            gives=(("state", state.calendar_id),),
        )

    def _request(self, request: ScaleRequest, seen: Seen) -> Iterator[Line]:
        profile = wording.profile(request.target, request.day, request.band)
        what = _ACTIONS.get(request.action, str(request.action))
        place = ("request", *seen.place)
        file, note = self.files.get(request.request_id), self.notes.get(request.request_id)
        if request.group:
            line = Line(
                kind="request",
                title=request.title,
                text=f"{what} of {request.target} on {wording.event_date(request.event_date)} by {request.origin}",
                needs=(("state", request.origin),),
                gives=(place,),
            )
            yield from self._paired("request", f"{request.target}/{request.origin}/{request.event_date}", line, what)
            return
        text = f"{what} of {profile if request.action is not RequestAction.DELETE else request.target}"
        text += f" on {wording.event_date(request.event_date)}"
        if request.owner:
            text += f" by {wording.one_line(request.owner)}"
        text += f" ← {file}" if file else ""
        text += f" ({note})" if note else ""
        yield Line(kind="request", title=request.title, text=text, gives=(place,))

    def _verdict(self, entry: Entry, seen: Seen) -> Iterator[Line]:
        verdict = entry.verdict
        request = verdict.request
        what = _ACTIONS.get(request.action, str(request.action))
        changes = ", ".join(
            f"{change.field} {self._value(change.before)} → {self._value(change.after)}" for change in verdict.changes
        )
        why = changes if verdict.kind is VerdictKind.REPLACED else verdict.reason
        stated = (request, entry.scale_out, entry.scale_in, entry.deletion)
        title = next((one.title for one in stated if one is not None and one.title), "")
        self._titles[entry.key] = title
        line = Line(
            kind="verdict",
            title=title,
            text=f"{verdict.kind}: {what}" + (f"; {wording.one_line(why, 200)}" if why else ""),
            needs=(("request", seen.partition, entry.position),),
            gives=(("verdict", request.request_id), ("told", entry.key, str(verdict.kind))),
            bad=verdict.kind in _BAD,
        )
        if request.group:
            yield from self._paired(f"verdict-{verdict.kind}", entry.key, line, what)
        else:
            yield line

    def _paired(self, stage: str, key: str, line: Line, what: str) -> Iterator[Line]:
        """A calendar's scale-out and scale-in come together; one line tells both."""
        if what == _ACTIONS[RequestAction.DELETE]:
            yield line
            return
        half = self._halves.pop((stage, key), None)
        if half is None:
            self._halves[stage, key] = line, what
            return
        first, before = half
        yield Line(
            kind=line.kind,
            title=line.title,
            text=first.text.replace(before, f"{before} and {what}", 1),
            needs=(*first.needs, *line.needs),
            gives=(*first.gives, *line.gives),
            bad=line.bad,
        )

    def _of_change(self, change: Change) -> Iterator[Line]:
        if change.kind != "CronWorkflow":
            return
        metadata = change.manifest["metadata"]
        notes, marks = metadata.get("annotations") or {}, metadata.get("labels") or {}
        action, title = _VERBS.get(marks.get(ACTION, ""), ""), notes.get(TITLE, "")
        if change.what == "gone":
            fired = ("begun", change.name) in self._told
            text = f"removed {change.name}" + ("; its Workflow stays" if fired else "")
            yield Line(kind="CronWorkflow", title=title, text=text, needs=(("over", change.name),) if fired else ())
            return
        spec = change.manifest["spec"]
        when = f"{' '.join(spec['schedules'])} ({spec.get('timezone', 'UTC')})"
        yield Line(
            kind="CronWorkflow",
            title=title,
            text=f"{change.what} {change.name}: {action} at {when}",
            needs=(("verdict", notes.get(REQUEST, "")),),
            gives=(("cron", change.name),),
        )

    def _fact(self, fact: Fact) -> Iterator[Line]:
        outcome = fact.outcome
        what = _ACTIONS.get(outcome.action, "")
        if fact.subject.startswith("problem/"):
            opened = "" if fact.state is FactState.OPEN else "solved: "
            yield Line(
                kind="problem", title=outcome.title, text=f"{opened}{outcome.message}", bad=not opened,
                needs=((("verdict", outcome.request_id),) if outcome.request_id else ()),
            )  # fmt: skip
        elif fact.state in _RUNS:
            run = fact.subject.removeprefix("run/")
            started = fact.state is FactState.STARTED
            detail = f" to level {outcome.level}" if started and outcome.level is not None else ""
            due = f", due {self._at(outcome.fires_at)}" if started and outcome.fires_at else ""
            said = f": {outcome.message}" if outcome.message else ""
            passed = ("begun" if started else "over", outcome.cron_workflow)
            yield Line(
                kind="run",
                title=outcome.title,
                text=f"{_RUNS[fact.state]}: {what}{detail}{due} [{run}]{said}",
                gives=(("ran", run, str(fact.state)), passed),
                bad=fact.state in _BAD,
            )

    def _message(self, said: Notification) -> Line:
        """A message is told once it is delivered, after what it is about."""
        named = {one.name: one.value for one in said.fields}
        run = named.get("Workflow", "").rpartition("/")[2]
        needs: list[_Need] = [("delivered", said.notification_id)]
        if said.kind is NotificationKind.SCHEDULED:
            needs.append(("cron", named.get("CronWorkflow", "").rpartition("/")[2]))
        elif said.kind.value in VerdictKind.__members__:
            needs.append(("told", said.entry, said.kind.value))
        elif FactState.__members__.get(said.kind.value) in _RUNS:
            needs.append(("ran", run, said.kind.value))
        title = named.get("Event", "") or self._titles.get(said.entry, "") or named.get("Calendar", "")
        return Line(kind="message", title=title, text=shortened(said.headline, title), needs=tuple(needs))

    def _value(self, value: str) -> str:
        """A value of a change; the folds write instants in UTC."""
        try:
            instant = datetime.fromisoformat(value) if value.endswith("Z") else None
        except ValueError:
            instant = None
        return self._at(instant) if instant else wording.one_line(value, 60) or "nothing"

    def _at(self, instant: datetime) -> str:
        return wording.instant(instant, self.zone)


def rendered(line: Line, now: datetime, zone: ZoneInfo, width: int) -> Text:
    """The line as it is printed: time by the sandbox's clock, kind, event, what happened.

    Args:
        line: the line.
        now: aware.
        zone: in which the time is written.
        width: of the terminal.
    """
    style = KINDS[line.kind]
    cells = _NARROW_TITLE_CELLS if width < _NARROW else _TITLE_CELLS
    text = Text()
    text.append(f"{now.astimezone(zone):%m-%d %H:%M:%S}  ", style="dim")
    text.append(f"{line.kind:<{_KIND_CELLS}}  ", style=style)
    text.append(column(line.title, cells), style="bold")
    text.append("  ")
    text.append(wording.one_line(line.text, 400), style="red" if line.bad else "")
    return text


def column(text: str, cells: int) -> str:
    """The text in exactly so many cells of a terminal, on which Korean letters take two."""
    flat = wording.one_line(text)
    fitted = set_cell_size(flat, cells)
    if fitted.rstrip() == flat.rstrip():
        return fitted
    return set_cell_size(set_cell_size(flat, cells - 1).rstrip() + "…", cells)


def title_of(peak: Peak) -> str:
    """The title of the event of a peak."""
    return next((request.title for request in peak.requests if request.title), "peak")


def peak_text(peak: Peak) -> str:
    """A peak and why it is one."""
    if peak.withdrawn:
        return f"{wording.day(peak.event_date)} withdrawn"
    names = ", ".join(dict.fromkeys(day.name for day in peak.holidays if day.name))
    length = (peak.run_end - peak.run_start).days + 1
    days = "1 day" if length == 1 else f"{length} days"
    return f"{wording.day(peak.event_date)} after {days} off, {wording.days(peak.run_start, peak.run_end)}: {names}"


def shortened(headline: str, title: str) -> str:
    """A headline without the event's title, which stands in a column of its own."""
    flat = wording.one_line(title)
    for inner in (f" for {flat}", f" {flat},"):
        if flat and inner in headline:
            return headline.replace(inner, "", 1)
    return headline


def _skipped(message: str) -> timedelta:
    """``by 3 days, 4:05:06`` as a length; none if it says nothing else."""
    days, _, clock = message.removeprefix("by ").rpartition(", ")
    try:
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        return timedelta(days=int(days.split()[0]) if days else 0, hours=hours, minutes=minutes, seconds=seconds)
    except ValueError:
        return timedelta(0)


def _said(seen: Seen) -> str:
    return seen.headers.get("__connect.errors.exception.message") or seen.headers.get("peaktime-reason", "no reason")
