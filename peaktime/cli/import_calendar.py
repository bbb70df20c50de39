"""``peaktime import-calendar``: read a holiday feed, judge it, and publish a snapshot of it.

For: the job that runs by the clock, and people. Must not: work out peaks itself; what it says will change is what the
fold, given the same snapshot, decides.
"""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from peaktime import logs
from peaktime.calendars import CalendarSettings, load_calendars
from peaktime.cli.wiring import open_codec, open_publisher
from peaktime.core.feedspec import parse_feed
from peaktime.errors import FeedError
from peaktime.sandbox.clock import SandboxClock
from peaktime.settings import Settings
from producers.calendar.bus import last_state
from producers.calendar.feeds.cache import FeedCache
from producers.calendar.feeds.fetch import Fetcher, Limits
from producers.calendar.feeds.open import feed_from
from producers.calendar.importer import Acceptance, foretell, take
from producers.publish import Position
from schemas.catalogue import load_catalogue
from schemas.records import CalendarSnapshot, CalendarState, PeakChange

_LEAST_SECONDS = 30.0


def command(
    *,
    calendar: Annotated[str, typer.Option(metavar="ID", help="Which calendar of the calendars file.")],
    feed: Annotated[str | None, typer.Option(help="Read this feed instead of the calendar's own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and publish nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    accept_withdrawals: Annotated[
        bool,
        typer.Option("--accept-withdrawals", help="Take a feed that takes back many holidays."),
    ] = False,
    who: Annotated[str | None, typer.Option(help="Who accepts; goes on the log.")] = None,
    why: Annotated[str | None, typer.Option(help="Why; goes on the log.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep the last copy of a URL here, for ETag and Last-Modified."),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="The feed may be at a private address."),
    ] = False,
) -> None:
    """Read a holiday feed and publish what it says; the events follow by themselves."""
    acceptance = _acceptance(accept_withdrawals, who, why)
    settings = Settings.load()
    logs.configure(settings)
    wanted = _calendar(settings, calendar, feed)
    limits = Limits(
        seconds=wanted.timeout.total_seconds(),
        allow_private=allow_private or wanted.allow_private_addresses,
    )
    fetcher = Fetcher(limits=limits, cache=FeedCache(cache) if cache is not None else None)
    source = feed_from(wanted.feed, ZoneInfo(wanted.zone), fetcher, data_go_kr_key=service_key(settings))
    now = _now(settings)
    state = _state(settings, wanted.id)
    taken_by = who or f"import-calendar at {socket.gethostname()}"
    snapshot = take(wanted, source, state, now, taken_by=taken_by, acceptance=acceptance)
    after = foretell(state, snapshot, now)
    position = None if dry_run else _publish(settings, snapshot)
    changes = after.changes if after is not None and after is not state else ()
    if as_json:
        typer.echo(json.dumps(_plain(snapshot, changes, position), ensure_ascii=False, indent=2))
    else:
        _tell(snapshot, changes, position)
    if snapshot.refused:
        remedy = "The last good snapshot stands; look at the feed"
        if snapshot.refused_code == "withdrawals":
            remedy += ", and accept it with --accept-withdrawals --who NAME --why REASON if it is right"
        raise FeedError(f"calendar {calendar}", f"the feed was refused: {snapshot.refused}", remedy)


def service_key(settings: Settings) -> str:
    """The key of data.go.kr, or the empty string."""
    key = getattr(settings, "data_go_kr_key", None)
    return key.get_secret_value() if key is not None else ""


def _acceptance(accept: bool, who: str | None, why: str | None) -> Acceptance | None:
    if not accept:
        return None
    if not (who and who.strip() and why and why.strip()):
        raise typer.BadParameter("needs --who and --why: both go on the log", param_hint="--accept-withdrawals")
    return Acceptance(who=who.strip(), why=why.strip())


def _calendar(settings: Settings, calendar_id: str, feed: str | None) -> CalendarSettings:
    wanted = load_calendars(settings.calendars).get(calendar_id)
    if feed is None:
        return wanted
    try:
        parse_feed(feed)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--feed") from None
    return wanted.model_copy(update={"feed": feed})


def _now(settings: Settings) -> datetime:
    return SandboxClock(settings.clock_file).now() if settings.clock_file is not None else datetime.now(UTC)


def _state(settings: Settings, calendar_id: str) -> CalendarState | None:
    spec = load_catalogue(settings.topic_prefix).calendar_states
    timeout = max(_LEAST_SECONDS, settings.publish_timeout)
    return last_state(settings.confluent_options(), open_codec(settings), spec, calendar_id, timeout)


def _publish(settings: Settings, snapshot: CalendarSnapshot) -> Position:
    with open_publisher(settings, "import-calendar") as publisher:
        return publisher.publish(publisher.catalogue.calendars, snapshot.calendar_id, snapshot)


def _plain(snapshot: CalendarSnapshot, changes: tuple[PeakChange, ...], position: Position | None) -> dict[str, Any]:
    return {
        "calendar": snapshot.calendar_id,
        "source": snapshot.source,
        "takenAt": snapshot.taken_at.isoformat().replace("+00:00", "Z"),
        "coversFrom": snapshot.covers_from.isoformat(),
        "coversTo": snapshot.covers_to.isoformat(),
        "days": len(snapshot.days),
        "fingerprint": snapshot.fingerprint,
        "refused": snapshot.refused,
        "refusedCode": snapshot.refused_code,
        "acceptedBy": snapshot.accepted_by,
        "acceptedWhy": snapshot.accepted_why,
        "changes": [
            {
                "kind": change.kind.value,
                "before": change.before.isoformat() if change.before else None,
                "after": change.after.isoformat() if change.after else None,
                "why": change.why,
            }
            for change in changes
        ],
        "position": str(position) if position is not None else None,
    }


def _tell(snapshot: CalendarSnapshot, changes: tuple[PeakChange, ...], position: Position | None) -> None:
    if not snapshot.refused:
        years = f"{snapshot.covers_from} to {snapshot.covers_to}"
        typer.echo(f"calendar {snapshot.calendar_id}: {snapshot.source} names {len(snapshot.days)} days, {years}")
        for change in changes:
            dates = " to ".join(day.isoformat() for day in dict.fromkeys((change.before, change.after)) if day)
            typer.echo(f"  {change.kind.value.lower():<9} {dates}: {change.why}")
        if not changes:
            typer.echo("  no peak changes")
    where = f"the snapshot is on the log at {position}" if position is not None else "nothing was published"
    typer.echo(f"calendar {snapshot.calendar_id}: {where}")
