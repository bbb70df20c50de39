"""What a request does: the fold of ``requests.v1`` into entries.

Pure: standard library, ``schemas.records`` and the core only. No clock (time is the log's), no zone, no configuration:
what depends on those is judged at the gateway or in ``desired``. The same log gives the same entries, always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from peaktime.core.expiry import KEPT_FOR, Expiries, expires_at
from peaktime.core.operators import ask_again, pause, resume
from peaktime.core.validity import (
    DAYS,
    FURTHEST,
    LONGEST,
    OPEN_ENDED_FOR,
    OPERATORS_ACTIONS,
    canonical_event_date,
    event_date_of,
    refusal,
)
from peaktime.core.windows import open_window, stated_end
from schemas.records import (
    EPOCH,
    Action,
    Change,
    ClosedWindow,
    Deletion,
    Entry,
    RequestAction,
    ScaleRequest,
    Verdict,
    VerdictKind,
    entry_key,
    replace,
)

__all__ = [
    "DAYS",
    "FURTHEST",
    "KEPT_FOR",
    "LONGEST",
    "OPEN_ENDED_FOR",
    "REMEMBERED_IDS",
    "RULES",
    "Entries",
    "canonical_event_date",
    "ceil_second",
    "event_date_of",
    "expires_at",
    "fold_request",
    "open_window",
    "refusal",
    "stated_end",
]

#: Version of these rules; an entry says by which it was decided.
RULES = 2
#: How many request ids of each action an entry remembers.
REMEMBERED_IDS = 32


def ceil_second(instant: datetime) -> datetime:
    """The instant, rounded up to a whole second."""
    return instant if instant.microsecond == 0 else instant.replace(microsecond=0) + timedelta(seconds=1)


def fold_request(entry: Entry | None, request: ScaleRequest, position: int, log_time: datetime) -> Entry | None:
    """The entry after a request, or None if the request changes nothing (a redelivery).

    Args:
        entry: the entry of the request's key so far.
        request: as it was read.
        position: its offset in the target's partition.
        log_time: its time on the log (UTC).
    """
    if entry is not None and position <= entry.position:
        return None
    if entry is not None:
        base = replace(entry, position=position, log_time=log_time, rules=RULES)
    else:
        base = Entry(
            target=request.target,
            origin=request.origin,
            event_date=event_date_of(request),
            position=position,
            log_time=log_time,
            rules=RULES,
            verdict=Verdict(request=request),
        )
    if request.request_id and request.request_id in _ids(base, request.action):
        verdict = Verdict(
            kind=VerdictKind.DUPLICATE,
            code="same-id",
            reason="the same request came again",
            request=request,
        )
        return replace(base, verdict=verdict)
    refused = refusal(request, log_time, ends_open_window=open_window(entry, log_time)) or _taken(base, request)
    if refused is not None:
        verdict = Verdict(kind=VerdictKind.REJECTED, code=refused[0], reason=refused[1], request=request)
        return replace(base, verdict=verdict)
    match request.action:
        case RequestAction.DELETE:
            return _withdraw(base, request, position, log_time)
        case RequestAction.RERUN:
            remembered = replace(base, rerun_ids=_remember(base.rerun_ids, request))
            return ask_again(remembered, request, position, log_time)
        case RequestAction.PAUSE:
            return pause(replace(base, pause_ids=_remember(base.pause_ids, request)), request, position, log_time)
        case RequestAction.RESUME:
            return resume(replace(base, resume_ids=_remember(base.resume_ids, request)), request, position, log_time)
    return _ask(base, request, position, log_time)


_IDS: dict[RequestAction, Callable[[Entry], tuple[str, ...]]] = {
    RequestAction.SCALE_OUT: attrgetter("scale_out_ids"),
    RequestAction.SCALE_IN: attrgetter("scale_in_ids"),
    RequestAction.DELETE: attrgetter("delete_ids"),
    RequestAction.RERUN: attrgetter("rerun_ids"),
    RequestAction.PAUSE: attrgetter("pause_ids"),
    RequestAction.RESUME: attrgetter("resume_ids"),
}
_content_of = attrgetter("day", "band", "starts_at", "ends_at", "title", "description")


def _ids(entry: Entry, action: RequestAction) -> tuple[str, ...]:
    ids_of = _IDS.get(action)
    return ids_of(entry) if ids_of is not None else ()


def _taken(entry: Entry, request: ScaleRequest) -> tuple[str, str] | None:
    """Another live event has this event date: one with another owner and another title."""
    if request.action is RequestAction.DELETE or request.action in OPERATORS_ACTIONS:
        return None
    for live in (entry.scale_out, entry.scale_in):
        if live is not None and live.owner != request.owner and live.title != request.title:
            whose = f"'{live.title}' of {live.owner or 'an unnamed owner'}"
            remedy = "give this event another event date (a minute will do), or agree with them"
            return "taken", f"{entry.event_date} is taken by {whose}; {remedy}"
    return None


def _same_content(action: Action, request: ScaleRequest) -> bool:
    return bool(_content_of(action) == _content_of(request))


def _remember(ids: tuple[str, ...], request: ScaleRequest) -> tuple[str, ...]:
    return (*ids, request.request_id)[-REMEMBERED_IDS:]


def _ask(entry: Entry, request: ScaleRequest, position: int, log_time: datetime) -> Entry:
    out = request.action is RequestAction.SCALE_OUT
    live = entry.scale_out if out else entry.scale_in
    ids = {"scale_out_ids" if out else "scale_in_ids": _remember(_ids(entry, request.action), request)}

    def unchanged(kind: VerdictKind, code: str, reason: str) -> Entry:
        return replace(entry, verdict=Verdict(kind=kind, code=code, reason=reason, request=request), **ids)

    if live is not None and _same_content(live, request):
        decided = unchanged(VerdictKind.DUPLICATE, "same-content", "exactly this is asked for already")
        if request.revision is not None and (live.revision is None or request.revision > live.revision):
            raised = replace(live, revision=request.revision)
            decided = replace(decided, scale_out=raised) if out else replace(decided, scale_in=raised)
        return decided
    held = live.revision if live is not None else None
    if held is not None and request.revision is not None and request.revision <= held:
        reason = f"revision {request.revision} is not higher than {held}, which is in force"
        return unchanged(VerdictKind.STALE, "revision", reason)
    if live is None and entry.deletion is not None and request.requested_at <= entry.deletion.requested_at:
        reason = "the event was withdrawn after this was asked for"
        return unchanged(VerdictKind.STALE, "withdrawn", reason)
    was_open = open_window(entry, log_time)
    ends_now = was_open and request.ends_at is not None and request.ends_at <= log_time
    action = Action(
        request_id=request.request_id,
        day=request.day,
        band=request.band,
        starts_at=request.starts_at,
        ends_at=request.ends_at,
        ended_at=ceil_second(log_time) if ends_now else None,
        title=request.title,
        description=request.description,
        owner=request.owner,
        requested_at=request.requested_at,
        revision=request.revision,
        group=request.group,
        position=position,
        changed_at=log_time,
    )
    verdict = (
        Verdict(kind=VerdictKind.ACCEPTED, request=request)
        if live is None
        else Verdict(
            kind=VerdictKind.REPLACED,
            request=request,
            changes=_changes(live, action),
            previous_owner=live.owner,
        )
    )
    scale_out, scale_in = (action, entry.scale_in) if out else (entry.scale_out, action)
    return replace(
        entry,
        scale_out=scale_out,
        scale_in=scale_in,
        closed=_closed(entry, position, log_time, request.starts_at) if out else entry.closed,
        deletion=entry.deletion if scale_out is None or scale_in is None else None,
        verdict=verdict,
        **ids,
    )


def _closed(
    entry: Entry,
    position: int,
    log_time: datetime,
    starts_at: datetime | None = None,
) -> tuple[ClosedWindow, ...]:
    """The entry's closed windows, with the one that is open now closed at this log time with the scale-in it has.

    Args:
        entry: the entry as it was.
        position: of the request that closes it.
        log_time: of that request.
        starts_at: where the request moves the start to, None if it withdraws. Only a move to later closes the window.
    """
    out = entry.scale_out
    if out is None or out.starts_at is None or not open_window(entry, log_time):
        return entry.closed
    if starts_at is not None and starts_at <= out.starts_at:
        return entry.closed
    # Moved to later but still before now, it goes on without a gap, and a lone scale-in is for what goes on.
    goes_on = starts_at is not None and starts_at <= log_time
    window = ClosedWindow(
        starts_at=out.starts_at,
        closed_at=ceil_second(log_time),
        end_stated=goes_on or stated_end(entry) is not None,
        scale_out=out,
        scale_in=entry.scale_in,
        position=position,
    )
    return (*entry.closed, window)


def _withdraw(entry: Entry, request: ScaleRequest, position: int, log_time: datetime) -> Entry:
    live = [a for a in (entry.scale_out, entry.scale_in) if a is not None]
    requested_at = request.requested_at
    if entry.deletion is not None:
        requested_at = max(requested_at, entry.deletion.requested_at)
    verdict = Verdict(
        kind=VerdictKind.WITHDRAWN,
        code="" if live else "nothing-there",
        reason="" if live else "there was nothing to withdraw",
        request=request,
        changes=tuple(
            Change(field=name, before=_shown(action.starts_at if name == "scale-out" else action.ends_at))
            for name, action in (("scale-out", entry.scale_out), ("scale-in", entry.scale_in))
            if action is not None
        ),
        previous_owner=live[-1].owner if live else None,
    )
    return replace(
        entry,
        scale_out=None,
        scale_in=None,
        closed=_closed(entry, position, log_time),
        delete_ids=_remember(entry.delete_ids, request),
        deletion=Deletion(
            request_id=request.request_id,
            title=live[0].title if live else (entry.deletion.title if entry.deletion else request.title),
            owner=request.owner,
            requested_at=requested_at,
            position=position,
            changed_at=log_time,
        ),
        verdict=verdict,
    )


def _shown(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
    return "" if value is None else str(value)


def _changes(before: Action, after: Action) -> tuple[Change, ...]:
    names = {
        "starts_at": "start",
        "ends_at": "end",
        "day": "day",
        "band": "band",
        "title": "title",
        "description": "description",
        "owner": "owner",
    }
    return tuple(
        Change(field=shown, before=_shown(getattr(before, name)), after=_shown(getattr(after, name)))
        for name, shown in names.items()
        if getattr(before, name) != getattr(after, name)
    )


@dataclass(slots=True)
class Entries:
    """The entries of one target: the fold's state, with old ones dropped while a later request is folded.

    Attributes:
        by_key: the entries by their key.
        position: the highest position that was folded, -1 for none.
    """

    by_key: dict[str, Entry] = field(default_factory=dict)
    position: int = -1
    _log_time: datetime = EPOCH
    _expiries: Expiries = field(default_factory=Expiries)

    def restore(self, entry: Entry) -> Entry | None:
        """Take an entry from the log of entries; if a later one is here already, that one."""
        known = self.by_key.get(entry.key)
        if known is not None and known.position > entry.position:
            return known
        self._put(entry.key, entry)
        return None

    def drop(self, key: str) -> None:
        """Forget an entry."""
        self.by_key.pop(key, None)
        self._expiries.drop(key)

    def fold(self, request: ScaleRequest, position: int, log_time: datetime) -> dict[str, Entry | None]:
        """Fold one request; what changed by key, None for an entry that was dropped. Empty for a redelivery.

        Args:
            request: as it was read.
            position: its offset in the target's partition.
            log_time: its time on the log (UTC).
        """
        key = entry_key(request.target, request.origin, event_date_of(request))
        entry = fold_request(self.by_key.get(key), request, position, log_time)
        if entry is None:
            return {}
        # One that comes again after its entry was dropped makes that anew: it goes by the time at which it went then.
        now = log_time if position > self.position else max(log_time, self._log_time)
        self._put(key, entry)
        changes: dict[str, Entry | None] = dict.fromkeys(self._expired(now))
        if key not in changes:
            changes[key] = entry
        return changes

    def _put(self, key: str, entry: Entry) -> None:
        self.by_key[key] = entry
        if entry.position > self.position:
            self.position, self._log_time = entry.position, entry.log_time
        self._expiries.put(key, entry)

    def _expired(self, log_time: datetime) -> list[str]:
        gone = self._expiries.droppable(self.by_key, log_time)
        for key in gone:
            self.drop(key)
        return sorted(gone)
