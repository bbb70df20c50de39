"""What auditors ask of the log, as rows: who asked for what, and how the schedule stood.

Pure. Must not: read the log, decide anything, or show times in any other way than with their zone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from peaktime.core import wording
from peaktime.core.validity import event_date_of
from peaktime.core.windows import stated_end
from processors.replay.log import Offsets
from processors.replay.refold import Fate, Step
from schemas.records import Action, Entry, Pause, ScaleRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One request and what became of it; every field a text, empty if there is nothing to say. Instants are UTC."""

    at: str
    verdict: str
    action: str = ""
    target: str = ""
    event_date: str = ""
    origin: str = ""
    title: str = ""
    owner: str = ""
    day: str = ""
    band: str = ""
    starts_at: str = ""
    ends_at: str = ""
    requested_at: str = ""
    request_id: str = ""
    code: str = ""
    reason: str = ""
    changes: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One event as it stands: what is asked for, by whom, since when. Instants are UTC."""

    key: str
    target: str
    event_date: str
    origin: str
    state: str
    title: str = ""
    owner: str = ""
    scale_out: str = ""
    starts_at: str = ""
    scale_in: str = ""
    ends_at: str = ""
    rerun: str = ""
    changed_at: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """One event that changed between two instants: in which fields, by whom in turn, and whose request was the last."""

    key: str
    change: str
    fields: str
    by: str = ""
    owner: str
    request_id: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which requests are meant; what is None or empty does not filter. Texts may stand anywhere, in any case."""

    since: datetime | None = None
    until: datetime | Offsets | None = None
    owner: str | None = None
    origin: str | None = None
    target: str | None = None
    verdicts: frozenset[Fate] = frozenset()
    text: str | None = None

    def meets(self, step: Step) -> bool:
        """Whether a folded request is meant."""
        if (self.since is not None and step.log_time < self.since) or (
            isinstance(self.until, datetime) and step.log_time > self.until
        ):
            return False
        if self.verdicts and step.fate not in self.verdicts:
            return False
        request = step.record
        if not isinstance(request, ScaleRequest):
            return self.owner is self.origin is self.target is self.text is None
        return (
            _found(self.owner, request.owner)
            and (self.origin is None or request.origin == self.origin)
            and (self.target is None or request.target == self.target)
            and _found(self.text, f"{request.title}\n{request.description}\n{request.request_id}\n{request.event_date}")
        )


def _found(part: str | None, text: str) -> bool:
    return part is None or part.casefold() in text.casefold()


def request_row(step: Step) -> RequestRow:
    """The row of a folded request."""
    request = step.record
    if not isinstance(request, ScaleRequest):
        return RequestRow(
            at=instant(step.log_time),
            verdict=step.fate,
            code=step.code,
            reason=step.reason,
            place=str(step.place),
        )
    entry = next((row for row in step.changes.values() if isinstance(row, Entry)), None)
    verdict = entry.verdict if entry is not None else None
    changes = (
        [f"{c.field}: {c.before or 'nothing'} → {c.after or 'nothing'}" for c in verdict.changes] if verdict else []
    )
    return RequestRow(
        at=instant(step.log_time),
        verdict=step.fate,
        action=request.action.value,
        target=request.target,
        event_date=event_date_of(request),
        origin=request.origin,
        title=request.title,
        owner=request.owner,
        day=request.day,
        band=request.band,
        starts_at=instant(request.starts_at),
        ends_at=instant(request.ends_at),
        requested_at=instant(request.requested_at),
        request_id=request.request_id,
        code=verdict.code if verdict is not None else step.code,
        reason=verdict.reason if verdict is not None else step.reason,
        changes="; ".join(changes),
        place=str(step.place),
    )


def schedule_row(entry: Entry) -> ScheduleRow:
    """The row of an entry."""
    out, back = entry.scale_out, entry.scale_in
    last = max((a for a in (out, back) if a is not None), key=lambda a: a.position, default=None)
    said = last or entry.deletion or entry.pause
    request = entry.verdict.request
    end = stated_end(entry)
    return ScheduleRow(
        key=entry.key,
        target=entry.target,
        event_date=entry.event_date,
        origin=entry.origin,
        state=_state(entry, asked_for=last is not None),
        title=request.title if said is None else said.why if isinstance(said, Pause) else said.title,
        owner=said.owner if said is not None else request.owner,
        scale_out=_profile(entry, out),
        starts_at=instant(out.starts_at) if out is not None else "",
        scale_in=_profile(entry, back),
        ends_at=instant(end[0]) if end is not None else "",
        rerun=entry.rerun.run if entry.rerun is not None else "",
        changed_at=instant(said.changed_at if said is not None else entry.log_time),
        request_id=said.request_id if said is not None else request.request_id,
    )


def _state(entry: Entry, *, asked_for: bool) -> str:
    if entry.pause_ids or entry.resume_ids:
        return "paused" if entry.pause is not None else "not paused"
    if asked_for:
        return "asked for"
    return "withdrawn" if entry.deletion is not None else "refused"


def _profile(entry: Entry, action: Action | None) -> str:
    return "" if action is None else wording.profile(entry.target, action.day, action.band)


def diff_rows(
    before: Mapping[str, Entry], after: Mapping[str, Entry], by: Mapping[str, str] | None = None
) -> Iterator[DiffRow]:
    """The events that stand differently, by key; requests that changed nothing do not count.

    Args:
        before: the entries at the first instant.
        after: those at the second.
        by: who changed each in between, in words.
    """
    ignored = {"key", "target", "event_date", "origin", "changed_at", "request_id"}
    for key in sorted({*before, *after}):
        old, new = (schedule_row(side[key]) if key in side else None for side in (before, after))
        shown = new or old
        if shown is None or (old is None and shown.state == "refused"):
            continue
        names = [f.name for f in fields(ScheduleRow) if f.name not in ignored]
        changed = [
            f"{name}: {getattr(old, name, '') or 'nothing'} → {getattr(new, name, '') or 'nothing'}"
            for name in names
            if getattr(old, name, "") != getattr(new, name, "")
        ]
        if changed:
            change = "new" if old is None else "gone" if new is None else "changed"
            yield DiffRow(
                key=key,
                change=change,
                fields="; ".join(changed),
                by=(by or {}).get(key, ""),
                owner=shown.owner,
                request_id=shown.request_id,
                at=shown.changed_at,
            )


def instant(value: datetime | None) -> str:
    """``2026-05-04T09:00:00.000Z``; empty for None."""
    return "" if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(value: str, zone: str) -> str:
    """What ``instant`` gave, for people of a zone."""
    return wording.instant(datetime.fromisoformat(value), zone) if value else ""
