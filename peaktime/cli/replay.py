"""``peaktime replay``: fold the log again with the same rules, tell each event's story, and compare.

For: whoever asks what happened and why. It reads Kafka (and the schema registry, if one is set) and nothing else: what
has effects is not imported. Must not: write anything but its report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from peaktime.cli.reading import EXIT_DIFFERENT, EXIT_NOT_FOUND, Progress, end, instant, open_log, open_session
from peaktime.cli.tables import print_lines
from peaktime.settings import Settings
from processors.replay.compare import Kind
from processors.replay.findings import Report, Scope
from processors.replay.report import report_json, report_lines
from processors.replay.story import Aside, Stories, Story, wanted_event


def command(
    *,
    target: Annotated[str | None, typer.Option(help="Only this target, and what shares its partition.")] = None,
    event: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Tell this event only: infra/pa/2026-05-04, or its event date."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Begin at this log time, not at the beginning."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME|OFFSETS", help="Fold nothing of a later log time, or from requests:3=1042,... on."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No stories and no progress: just what differs.")] = False,
) -> None:
    """Fold the log again, without any effect: tell each event's story, and whether the tables are as they should be.

    Ends with 0 if they are, 2 if something differs, 1 if the log cannot be read, or has no such event.
    """
    settings = Settings.load()
    scope = Scope(
        target=target,
        since=instant(since, settings.tz, "--from"),
        until=end(until, settings.tz, "--until"),
        zone=settings.zone,
    )
    wanted = wanted_event(event, target, settings.zone)
    stories = None if quiet else Stories(wanted, settings.zone, scope.until, scope.since)
    aside = Aside()
    with open_log(settings) as log, Progress(shown=not quiet) as progress:
        session = open_session(settings, log, scope, progress)
        if stories is None:
            report = session.run()
        else:
            report = session.run(
                stories.step,
                aside.step,
                notifications=stories.notification,
                deliveries=stories.delivery,
            )
    told = [] if stories is None else stories.all()
    _judge(told, report)
    if as_json:
        shown = {**report_json(report), "events": [story_json(story) for story in told]}
        if stories is not None and event is None:
            shown["aside"] = [{"place": place, "fate": fate, "why": why} for place, fate, why in aside.ordered()]
        typer.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        print_lines(line for story in told for line in story_lines(story, settings.zone))
        if stories is not None and event is None and aside.lines:
            beside = (f"  {place}  {fate}  {why}" for place, fate, why in aside.ordered())
            print_lines(["Beside the events:", *beside, ""])
        print_lines(report_lines(report, settings.zone))
    if target is not None and not any(key.startswith(f"{target}/") for key in report.entries):
        typer.echo(f"peaktime: nothing that was read is about a target {target}. `peaktime plan` lists them", err=True)
    if not report.same:
        raise typer.Exit(EXIT_DIFFERENT)
    if event is not None and stories is not None and not told:
        typer.echo(f"peaktime: {event}: what was read has no such event. `peaktime audit requests` lists all", err=True)
        raise typer.Exit(EXIT_NOT_FOUND)


def _judge(told: Iterable[Story], report: Report) -> None:
    """Say of each event whether its entry is as it should be, and what it is called."""
    entries = report.tables["entries"]
    differing = {difference.key: difference.kind for difference in entries.differences}
    for story in told:
        kind = differing.get(story.key)
        if kind is not None:
            story.state = "other rules" if kind is Kind.RULES else "different"
        elif story.key not in entries.unjudged:
            story.state = "equal"
        if not story.title and story.key in report.entries:
            story.title = report.entries[story.key].verdict.request.title


def story_lines(story: Story, zone: str) -> list[str]:
    """A story for people."""
    head = f"{story.key}  {story.title}".rstrip()
    end = {
        "equal": "Its entry is as entries.v1 has it.",
        "different": "Its entry DIFFERS from entries.v1.",
        "other rules": "Its entry in entries.v1 was decided by other rules.",
    }
    lines = [head, *(f"  {line.shown(zone)}" + (f"  [{line.who}]" if line.who else "") for line in story.ordered())]
    if story.state:
        lines.append(f"  {end[story.state]}")
    return [*lines, ""]


def story_json(story: Story) -> dict[str, Any]:
    """A story for programs."""
    return {
        "key": story.key,
        "title": story.title,
        "state": story.state,
        "lines": [
            {
                "at": line.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "kind": line.kind,
                "what": str(line.what),
                "text": line.text,
                "place": line.place,
                **{name: value for name, value in line.details.items() if value not in (None, "")},
            }
            for line in story.ordered()
        ],
    }
