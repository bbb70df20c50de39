"""``peaktime explain``: an event's whole life in order, and what comes next.

For: whoever is asked about an event. What happened is told from the log, in the words of ``peaktime audit event``; what
is to come is what the worker would want now. It reads Kafka and the profiles. Must not: write anything but its answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from peaktime.cli.looking import clock_of, iso, pause_json, targets_of
from peaktime.cli.reading import open_codec, open_log
from peaktime.cli.replay import story_json, story_lines
from peaktime.cli.schedule import firing_json
from peaktime.cli.tables import print_lines
from peaktime.cli.views import run_session
from peaktime.core import wording
from peaktime.core.profiles import Profiles
from peaktime.errors import RequestError
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.replay.findings import Log, Scope
from processors.replay.lookup import Sought, known_runs, meant, only_one, run_on_log, sought
from processors.replay.outlook import EventOutlook, Outlook, event_outlook, outlook, told
from processors.replay.standing import Standing, read_standing
from processors.replay.story import Stories, Story
from processors.replay.views import ScheduleRow, schedule_row
from producers.pa.mapping import canonical_event_date
from schemas.catalogue import load_catalogue
from schemas.records import Entry


def command(
    event: Annotated[
        str,
        typer.Argument(metavar="EVENT", help="Its event date, its key (infra/pa/2026-05-04), or the name of a run."),
    ],
    *,
    target: Annotated[str | None, typer.Option(help="Only of this target.")] = None,
    origin: Annotated[str | None, typer.Option(help="Only of this origin: pa, operator, or a calendar's id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell an event's whole life in order: requests, verdicts, runs, messages, where it stands, and what comes next."""
    settings = Settings.load()
    profiles = load_profiles(settings.profiles)
    now, grace = clock_of(settings).now(), timedelta(seconds=settings.grace)
    what = sought(event, _with_offset(event, profiles.zone))
    if what.key is not None:
        target = target or what.key.partition("/")[0]
    with open_log(settings) as log:
        codec, catalogue = open_codec(settings), load_catalogue(settings.topic_prefix)
        standing = read_standing(log, codec, catalogue, target)
        if what.key is not None and not standing.targets():
            # Perhaps the target is misspelt: then the candidates are elsewhere.
            standing = read_standing(log, codec, catalogue)
        if what.key is None:
            targets_of(target, standing.targets(), profiles)
        if what.run is not None:
            outlooks = (_outlook(name, standing, profiles, now, grace) for name in standing.targets())
            what = _event_of_run(settings, log, what, what.run, standing, outlooks)
            target = target or (what.key or "").partition("/")[0]
    story = _found(settings, what, standing, (target, origin), profiles.zone)
    key = story.key
    whole = _outlook(key.partition("/")[0], standing, profiles, now, grace)
    entry = whole.entries.by_key.get(key)
    ahead = event_outlook(whole, key, profiles.zone, grace=grace)
    if as_json:
        shown = {**story_json(story), **_now_json(whole, entry, ahead)}
        shown["state"] = shown["now"]["state"]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    print_lines([*story_lines(story, profiles.zone)[:-1], *now_lines(whole, entry, ahead, profiles.zone)])


def _with_offset(text: str, zone: str) -> str | None:
    """The canonical form of a date that only a zone makes clear; None if it is none."""
    try:
        return canonical_event_date(text.strip(), zone)
    except RequestError:
        return None


def _outlook(target: str, standing: Standing, profiles: Profiles, now: datetime, grace: timedelta) -> Outlook:
    return outlook(target, standing.entries.of(target), standing.facts.of(target), profiles, now, grace=grace)


def _event_of_run(
    settings: Settings,
    log: Log,
    what: Sought,
    run: str,
    standing: Standing,
    outlooks: Iterable[Outlook],
) -> Sought:
    """The event of a run, as if its key had been typed."""
    known = known_runs(standing, outlooks)
    keys = known.get(run)
    if not keys:
        keys = run_on_log(run, log, open_codec(settings), load_catalogue(settings.topic_prefix).outcomes.name)
    return Sought(
        what.text, key=only_one(what, keys, _titles(standing), {name: min(events) for name, events in known.items()})
    )


def _titles(standing: Standing) -> dict[str, str]:
    return {entry.key: schedule_row(entry).title for entry in standing.each_entry()}


def _found(
    settings: Settings,
    what: Sought,
    standing: Standing,
    limits: tuple[str | None, str | None],
    zone: str,
) -> Story:
    """The story of the event that is meant, from the log."""
    target, origin = limits
    titles = _titles(standing)
    now = meant(what, titles, target=target, origin=origin)
    if len(now) > 1:
        only_one(what, now, titles)

    def wanted(key: str) -> bool:
        return bool(meant(what, [key], target=target, origin=origin))

    stories = Stories(wanted, zone)
    run_session(settings, Scope(target=target, compare=False, zone=zone), stories=stories)
    by_key = {story.key: story for story in stories.all()}
    titles = {key: story.title for key, story in by_key.items()} | titles
    key = only_one(what, {*now, *by_key}, titles)
    story = by_key.get(key) or Story(key=key)
    story.title = titles[key]
    return story


def now_lines(whole: Outlook, entry: Entry | None, ahead: EventOutlook, zone: str) -> list[str]:
    """Where an event stands, for people."""
    lines = ["", f"Now, {wording.instant(whole.now, zone)} ({zone}):"]
    if entry is None:
        lines.append("  it is over: nothing of it is kept any more but the log")
    else:
        lines.append(f"  {_standing_told(schedule_row(entry), entry, zone)}")
    if whole.pause is not None:
        since = wording.instant(whole.pause.changed_at, zone)
        lines.append(f"  {whole.target} is paused by {whole.pause.owner} since {since}: {whole.pause.why}")
    for window, state in ahead.windows:
        span = wording.window(window.starts_at, window.ends_at, zone).removesuffix(f" ({zone})")
        lines.append(f"  window {span}, level {window.level}: {state}")
    for row in ahead.firings:
        level = "" if row.level is None else f" to level {row.level}"
        run = f" as {row.run}" if row.run else ""
        when = wording.instant(row.at, zone)
        lines.append(f"  firing {when} {told(row.action)} {row.profile}{level}{run}, {row.state}: {row.why}")
    if ahead.stays_at is not None:
        at = wording.instant(ahead.stays_at, zone)
        lines.append(f"  nobody has asked for a scale-in: capacity stays as it is after {at}")
    lines += [f"  problem: {problem}" for problem in ahead.problems]
    when = f"{wording.instant(ahead.step_at, zone)}, " if ahead.step_at is not None else ""
    lines.append(f"  next: {when}{ahead.step or 'nothing'}")
    return lines


def _standing_told(row: ScheduleRow, entry: Entry, zone: str) -> str:
    if entry.pause is not None:
        return "this is the entry by which the target is paused"
    if not (row.scale_out or row.scale_in):
        said = entry.deletion
        when = f" since {wording.instant(said.changed_at, zone)} by {said.owner}" if said is not None else ""
        return f"{row.state}{when}"
    parts = [f"scale-out {row.scale_out}"] if row.scale_out else []
    parts += [f"scale-in {row.scale_in}"] if row.scale_in else []
    return f"asked for by {row.owner or 'nobody named'}: {' and '.join(parts)}"


def _now_json(whole: Outlook, entry: Entry | None, ahead: EventOutlook) -> dict[str, Any]:
    return {
        "target": whole.target,
        "now": {
            "at": iso(whole.now),
            "state": "over" if entry is None else schedule_row(entry).state,
            "paused": pause_json(whole.pause),
            "windows": [
                {
                    "startsAt": iso(window.starts_at),
                    "endsAt": iso(window.ends_at),
                    "level": window.level,
                    "cut": window.cut,
                    "state": state,
                }
                for window, state in ahead.windows
            ],
            "firings": [firing_json(row) for row in ahead.firings],
            "problems": list(ahead.problems),
            "staysAt": iso(ahead.stays_at),
            "next": {"at": iso(ahead.step_at), "what": ahead.step} if ahead.step else None,
        },
    }
