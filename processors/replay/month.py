"""A time of the log on one timeline: requests, windows, runs and outcomes, as they were then.

For: ``audit plot``. It takes the folded records in order and keeps what its picture needs. Pure. Must not: read the
log, or know a clock: the same log gives the same picture, whenever it is drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from peaktime.core import wording
from peaktime.core.capacity import timeline
from peaktime.core.outcomes import BEGUN, is_run
from peaktime.core.windows import stated_end
from processors.replay.chart import Chart, Lane, Mark, Strip, bars, levels, shape_of, span_told
from processors.replay.outlook import in_force
from processors.replay.refold import Step as Folded
from processors.replay.story import requests_told
from schemas.records import Action, Entry, Fact, Outcome, OutcomeKind, RequestAction, ScaleRequest

#: The level that an action of a profile (target, day, band) leads to; None if it is not configured.
LevelOfProfile = Callable[[RequestAction, str, str, str], int | None]


@dataclass(slots=True)
class _Seen:
    """What is known of one target."""

    entries: dict[str, Entry] = field(default_factory=dict)
    past: list[Entry] = field(default_factory=list)
    requests: list[Mark] = field(default_factory=list)
    problems: list[Mark] = field(default_factory=list)
    runs: dict[str, Fact] = field(default_factory=dict)
    before: Fact | None = None


class Month:
    """Collects what happened in a time.

    Args:
        first: its beginning (UTC).
        last: its end (UTC), not included.
        zone: IANA zone of the axis and of words.
        target: only this one; None for all.
        level_of: levels as they are configured, for profiles that no run has told of.
    """

    def __init__(
        self, first: datetime, last: datetime, zone: str, target: str | None, level_of: LevelOfProfile
    ) -> None:
        self._first, self._last, self._zone, self._target = first, last, zone, target
        self._level_of = level_of
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._levels: dict[tuple[RequestAction, str, str, str], int] = {}
        self._end: datetime | None = None
        self._touched: set[str] = set()

    def step(self, step: Folded) -> None:
        """Take a folded record; those of one target in order."""
        self._end = step.log_time if self._end is None else max(self._end, step.log_time)
        if isinstance(step.record, ScaleRequest):
            self._touched.update(step.changes)
            if step.log_time < self._last:
                self._request(step, step.record)
        elif isinstance(step.record, Outcome):
            self._outcome(step, step.record)

    def _request(self, step: Folded, request: ScaleRequest) -> None:
        if self._target not in (None, request.target):
            return
        seen = self._seen[request.target]
        if step.log_time >= self._first:
            who = f" by {request.owner}" if request.owner else ""
            what = (
                f"{wording.instant(step.log_time, self._zone)} {step.fate}{who}: {requests_told(request, self._zone)}"
            )
            mark = Mark(at=step.log_time, shape=shape_of(request.action), look=step.fate, tip=what)
            seen.requests.append(mark)
        for key, row in step.changes.items():
            before = seen.entries.pop(key, None)
            after = row if isinstance(row, Entry) else None
            if before is not None and self._was(before, after, step.log_time):
                seen.past.append(before)
            if after is not None:
                seen.entries[key] = after

    def _was(self, before: Entry, after: Entry | None, log_time: datetime) -> bool:
        """Whether an entry's window is history that its next version does not tell any more."""
        out, end = before.scale_out, stated_end(before)
        if out is None or out.starts_at is None or end is None or end[0] > log_time or end[0] <= self._first:
            return False
        return after is None or after.scale_out is None or after.scale_out.position != out.position

    def _outcome(self, step: Folded, outcome: Outcome) -> None:
        if self._target not in (None, outcome.target):
            return
        seen = self._seen[outcome.target]
        if outcome.level is not None:
            self._levels[outcome.action, outcome.target, outcome.day, outcome.band] = outcome.level
        for subject, row in step.changes.items():
            if isinstance(row, Fact) and is_run(row):
                if self._first <= began(row) < self._last:
                    seen.runs[subject] = row
                elif row.state in BEGUN and began(row) < self._first:
                    seen.before = max(seen.before or row, row, key=began)
        if outcome.kind is OutcomeKind.PROBLEM_OPENED and step.changes and self._first <= step.log_time < self._last:
            tip = f"{wording.instant(step.log_time, self._zone)} problem: {outcome.message}"
            seen.problems.append(Mark(at=step.log_time, shape="problem", look="problem", tip=tip))

    def chart(self, standing: Mapping[str, Entry]) -> Chart:
        """The picture's content.

        Args:
            standing: the entries at the end by key; those that no record that was read has changed stood before the
                beginning of the log.
        """
        for key, entry in standing.items():
            if key not in self._touched and self._target in (None, entry.target):
                self._seen[entry.target].entries[key] = entry
        end = self._end if self._end is not None and self._first <= self._end < self._last else None
        lanes = [self._lane(target, self._seen[target], end) for target in sorted(self._seen)]
        return Chart(
            title=f"What was asked and done, {span_told(self._first, self._last, self._zone)}",
            zone=self._zone,
            first=self._first,
            last=self._last,
            lanes=tuple(lane for lane in lanes if lane is not None),
            line=(end, "the log ends") if end is not None else None,
        )

    def _lane(self, target: str, seen: _Seen, end: datetime | None) -> Lane | None:
        def level_of(entry: Entry, action: Action, way: RequestAction = RequestAction.SCALE_OUT) -> int | None:
            told = self._levels.get((way, entry.target, action.day, action.band))
            return told if told is not None else self._level_of(way, entry.target, action.day, action.band)

        versions = [*seen.past, *seen.entries.values()]
        line = timeline(versions, level_of)
        changes = [(f.instant, level_of(versions[0], f.by, f.action)) for f in line.firings]
        shown = tuple(bars(line.windows, in_force(line), self._zone, self._first, self._last))
        runs = tuple(self._runs(seen))
        if not (shown or runs or seen.requests or seen.problems):
            return None
        started = seen.before.outcome.level if seen.before is not None else None
        ran = sorted((began(fact), name, fact) for name, fact in seen.runs.items() if fact.state in BEGUN)
        return Lane(
            target=target,
            bars=shown,
            planned=levels(_before(changes, self._first), _inside(changes, self._first, self._last), self._first),
            ran=levels(started or 0, ((at, fact.outcome.level) for at, _, fact in ran), self._first),
            known_until=end,
            above=(Strip("requests", tuple(seen.requests)),),
            below=(Strip("runs", runs), *([Strip("problems", tuple(seen.problems))] if seen.problems else [])),
        )

    def _runs(self, seen: _Seen) -> Iterator[Mark]:
        for subject, fact in sorted(seen.runs.items()):
            said = f": {fact.outcome.message}" if fact.outcome.message else ""
            state, run = fact.state.lower(), subject.removeprefix("run/")
            tip = f"{wording.instant(began(fact), self._zone)} {run} {state}{said}"
            yield Mark(at=began(fact), shape=shape_of(fact.outcome.action), look=state, tip=tip)


def began(fact: Fact) -> datetime:
    """When a run started; if it did not, when it was due."""
    return fact.started_at or fact.outcome.fires_at or fact.log_time


def _before(changes: list[tuple[datetime, int | None]], first: datetime) -> int:
    return next((level for at, level in reversed(changes) if at < first and level is not None), 0)


def _inside(
    changes: list[tuple[datetime, int | None]],
    first: datetime,
    last: datetime,
) -> list[tuple[datetime, int | None]]:
    return [(at, level) for at, level in changes if first <= at < last]
