"""What operators' requests do to an entry: RERUN of a run of its event, PAUSE and RESUME of its target.

Pure: standard library, ``schemas.records`` and the core only. No clock, no configuration; whether a run exists, and
whether it is wanted still, is ``desired``'s question, since a fold knows no facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from schemas.records import Change, Deletion, Entry, Pause, Rerun, ScaleRequest, Verdict, VerdictKind

#: The same run asked for again by the same person within this time is one wish (a button pressed twice).
ONE_WISH = timedelta(seconds=60)


def ask_again(entry: Entry, request: ScaleRequest, position: int, log_time: datetime) -> Entry:
    """The entry after a RERUN that is valid, judged alone.

    Args:
        entry: the entry, with the request remembered.
        request: as it was read.
        position: its offset in the target's partition.
        log_time: its time on the log (UTC).
    """
    if entry.scale_out is None and entry.scale_in is None and not entry.closed and entry.deletion is None:
        reason = f"nothing is known of an event {entry.event_date} of {entry.target}, so it has no run"
        return _said(entry, request, VerdictKind.REJECTED, "unknown-event", reason)
    last = entry.rerun
    if (
        last is not None
        and (last.run, last.owner) == (request.run, request.owner)
        and log_time - last.changed_at < ONE_WISH
    ):
        return _said(entry, request, VerdictKind.DUPLICATE, "same-content", "exactly this was asked for a moment ago")
    rerun = Rerun(
        request_id=request.request_id,
        run=request.run or "",
        owner=request.owner,
        why=request.description,
        position=position,
        changed_at=log_time,
    )
    return _said(replace(entry, rerun=rerun), request, VerdictKind.ACCEPTED)


def pause(entry: Entry, request: ScaleRequest, position: int, log_time: datetime) -> Entry:
    """The entry ``target/operator/pause`` after a PAUSE; the arguments are those of ``ask_again``."""
    before = entry.pause
    if before is not None and (before.owner, before.why) == (request.owner, request.description):
        return _said(entry, request, VerdictKind.DUPLICATE, "same-content", "it is paused already")
    resumed = entry.deletion
    if before is None and resumed is not None and request.requested_at <= resumed.requested_at:
        return _said(entry, request, VerdictKind.STALE, "resumed", "it was resumed after this was asked for")
    after = Pause(
        request_id=request.request_id,
        owner=request.owner,
        why=request.description,
        requested_at=request.requested_at,
        position=position,
        changed_at=log_time,
    )
    paused = replace(entry, pause=after, deletion=None)
    if before is None:
        return _said(paused, request, VerdictKind.ACCEPTED)
    changes = [
        Change(field=name, before=old, after=new)
        for name, old, new in (("owner", before.owner, after.owner), ("why", before.why, after.why))
        if old != new
    ]
    return _said(paused, request, VerdictKind.REPLACED, changes=changes, previous_owner=before.owner)


def resume(entry: Entry, request: ScaleRequest, position: int, log_time: datetime) -> Entry:
    """The entry ``target/operator/pause`` after a RESUME; the arguments are those of ``ask_again``."""
    before = entry.pause
    if before is not None and request.requested_at < before.requested_at:
        return _said(entry, request, VerdictKind.STALE, "paused", "it was paused after this was asked for")
    requested_at = request.requested_at
    if entry.deletion is not None:
        requested_at = max(requested_at, entry.deletion.requested_at)
    resumed = replace(
        entry,
        pause=None,
        deletion=Deletion(
            request_id=request.request_id,
            owner=request.owner,
            requested_at=requested_at,
            position=position,
            changed_at=log_time,
        ),
    )
    if before is None:
        return _said(resumed, request, VerdictKind.ACCEPTED, "not-paused", "it was not paused")
    return _said(resumed, request, VerdictKind.ACCEPTED, previous_owner=before.owner)


def _said(
    entry: Entry,
    request: ScaleRequest,
    kind: VerdictKind,
    code: str = "",
    reason: str = "",
    *,
    changes: Iterable[Change] = (),
    previous_owner: str | None = None,
) -> Entry:
    verdict = Verdict(
        kind=kind,
        code=code,
        reason=reason,
        request=request,
        changes=tuple(changes),
        previous_owner=previous_owner,
    )
    return replace(entry, verdict=verdict)
