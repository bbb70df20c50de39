"""``peaktime schedule``: what will scale when, as a table, as JSON or as a picture.

For: whoever wonders what the coming days bring. It reads entries and facts from Kafka and the profiles, nothing else.
Must not: write anything but its answer, or decide anything.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.table import Table

from peaktime.cli.looking import (
    check_picture,
    check_span,
    clock_of,
    day_or_instant,
    draw,
    how_things_stand,
    iso,
    midnight,
    pause_json,
    targets_of,
)
from peaktime.cli.tables import show, tame
from peaktime.core import wording
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.replay.chart import schedule_chart, span_told
from processors.replay.outlook import FiringRow, Outlook, outlook, told, window_told

_DAYS = 28


def command(
    *,
    first: Annotated[
        str | None, typer.Option("--from", metavar="D", help="First day, or a time; today if left out.")
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", metavar="D", help=f"Last day, or a time; {_DAYS} days if left out."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only this target.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it to a .svg or .png file instead.")] = None,
) -> None:
    """Show what will scale when: every firing with its level, event and reason. Times are local."""
    settings = Settings.load()
    profiles = load_profiles(settings.profiles)
    here = ZoneInfo(profiles.zone)
    now = clock_of(settings).now()
    if plot is not None and as_json:
        raise typer.BadParameter("is one thing, --json another; give one of them", param_hint="--plot")
    if plot is not None:
        check_picture(plot)
    begin = day_or_instant(first, here, "--from") or midnight(now.astimezone(here).date(), here)
    end = day_or_instant(last, here, "--to", end=True)
    end = midnight(begin.astimezone(here).date() + timedelta(days=_DAYS), here) if end is None else end
    check_span(begin, end)
    standing = how_things_stand(settings, target)
    grace = timedelta(seconds=settings.grace)
    shown = [
        outlook(name, standing.entries.of(name), standing.facts.of(name), profiles, now, grace=grace)
        for name in targets_of(target, standing.targets(), profiles)
    ]
    if plot is not None:
        draw(schedule_chart(shown, zone=profiles.zone, first=begin, last=end, now=now), plot)
        typer.echo(str(plot))
    elif as_json:
        document = {"zone": profiles.zone, "now": iso(now), "from": iso(begin), "to": iso(end)}
        targets = [schedule_json(whole, begin, end) for whole in shown]
        typer.echo(json.dumps({**document, "targets": targets}, indent=2, ensure_ascii=False))
    else:
        _print(shown, begin, end, profiles.zone)


def schedule_json(whole: Outlook, first: datetime, last: datetime) -> dict[str, Any]:
    """One target's part of a schedule, for programs."""
    windows = [
        w for w in whole.want.timeline.windows if w.starts_at < last and (w.ends_at is None or w.ends_at > first)
    ]
    return {
        "target": whole.target,
        "paused": pause_json(whole.pause),
        "levelBefore": whole.level_before(first),
        "firings": [firing_json(row) for row in whole.between(first, last)],
        "windows": [
            {
                "entry": window.entry,
                "title": window.scale_out.title,
                "startsAt": iso(window.starts_at),
                "endsAt": iso(window.ends_at),
                "level": window.level,
                "cut": window.cut,
                "state": window_told(window, whole),
            }
            for window in windows
        ],
        "staysAt": [iso(at) for at in whole.stays() if first <= at < last],
        "problems": [
            {"code": problem.code, "about": problem.about, "entry": problem.entry, "message": problem.message}
            for problem in whole.want.problems
        ],
    }


def firing_json(row: FiringRow) -> dict[str, Any]:
    """A firing, for programs."""
    return {
        "at": iso(row.at),
        "action": row.action.value,
        "profile": row.profile,
        "level": row.level,
        "entry": row.entry,
        "eventDate": row.event_date,
        "title": row.title,
        "owner": row.owner,
        "why": row.why,
        "cronWorkflow": row.cron_workflow,
        "workflow": row.run,
        "state": row.state,
    }


def _print(shown: list[Outlook], first: datetime, last: datetime, zone: str) -> None:
    rows = sorted((row for whole in shown for row in whole.between(first, last)), key=lambda row: (row.at, row.target))
    if rows:
        table = Table(
            "when",
            "target",
            "action",
            "profile",
            "level",
            "event",
            "title",
            "state",
            "why",
            title=span_told(first, last, zone),
        )
        for row in rows:
            level = "?" if row.level is None else str(row.level)
            cells = (
                wording.instant(row.at, zone), row.target, told(row.action), row.profile, level, row.entry,
                wording.one_line(row.title), row.state, row.why,
            )  # fmt: skip
            # Somebody's words must not style the table.
            table.add_row(*(escape(tame(cell)) for cell in cells))
        show(table)
    else:
        typer.echo(f"Nothing scales from {span_told(first, last, zone)}.")
        coming = min(((row.at, row.entry) for whole in shown for row in whole.firings if row.at >= last), default=None)
        if coming is not None:
            typer.echo(f"The next firing after it is {wording.instant(coming[0], zone)}, of {coming[1]}.")
    for whole in shown:
        if whole.pause is not None:
            since = wording.instant(whole.pause.changed_at, zone)
            typer.echo(f"{whole.target} is paused by {whole.pause.owner} since {since}: {whole.pause.why}")
        for at in whole.stays():
            if first <= at < last:
                when = wording.instant(at, zone)
                typer.echo(f"{whole.target}: nobody has asked for a scale-in, so capacity stays as it is after {when}")
        for problem in whole.want.problems:
            typer.echo(f"problem: {problem.about}: {problem.message}")
