"""``peaktime audit export`` and ``check-export``: a view or a topic as a file, with a manifest that speaks for it.

For: auditors who take something with them. Must not: write anywhere but in the folder that is named, or import
anything that has effects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from peaktime.cli.reading import EXIT_DIFFERENT, Progress, instant, open_codec, open_log
from peaktime.cli.replay import story_json
from peaktime.cli.views import (
    Noted,
    diff_between,
    event_stories,
    place_order,
    request_rows,
    schedule_rows,
)
from peaktime.errors import RequestError, SettingsError
from peaktime.settings import Settings
from processors.replay import export as exporting
from processors.replay.log import Raw
from processors.replay.views import DiffRow, Filter, RequestRow, ScheduleRow
from schemas.catalogue import TopicSpec, load_catalogue

VIEWS = ("requests", "schedule", "event", "diff")
_STORY = ("key", "title", "at", "kind", "what", "text", "place", "details")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def export(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="requests, schedule, event, diff, or a topic: entries, outcomes, ...")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    *,
    shape: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="How rows are written.")] = "jsonl",
    event: Annotated[str | None, typer.Option(metavar="KEY", help="The event of the view `event`.")] = None,
    target: Annotated[str | None, typer.Option(help="Views: only this target.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this log time on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this log time.")] = None,
    as_json: _Json = False,
) -> None:
    """Write a view or a topic to a file, with a manifest. The same log gives the same bytes.

    Rows of requests and of topics come by partition and offset, others by key. `requests` is a view; to export the
    topic of requests as it stands, say topic:requests. With --until, what comes to the log later changes nothing.
    """
    settings = Settings.load()
    first, last = instant(since, settings.tz, "--from"), instant(until, settings.tz, "--until")
    noted = Noted(last)
    asked = {"event": event, "target": target, "from": _told(first), "until": _told(last)}
    if what in VIEWS:
        columns, rows = _view(settings, what, noted, event=event, target=target, first=first, last=last)
        name = what
    else:
        if event is not None or target is not None:
            raise SettingsError("WHAT", f"{what!r} is no view, so it takes no --event or --target", "Leave them out")
        spec = _topic(settings, what)
        columns, rows = exporting.TOPIC_COLUMNS, _topic_rows(settings, spec, noted, first)
        name = spec.short
    path = exporting.write(
        folder,
        f"{name}.{shape}",
        exporting.lines(rows, columns, shape),
        what=what if what in VIEWS else f"topic:{name}",
        spans=noted.spans,
        seen=noted.seen,
        version=version("peaktime"),
        asked={option: text for option, text in asked.items() if text},
    )
    typer.echo(path.read_text("utf-8").rstrip() if as_json else str(path))


def check_export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of an export.")], *, as_json: _Json = False
) -> None:
    """Check that an export is still what was written. Ends with 0 if it is, 2 if not; it needs no Kafka."""
    wrong = exporting.check(folder)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "same": not wrong, "wrong": wrong}, ensure_ascii=False))
    else:
        for sentence in wrong or [f"{folder}: as it was exported"]:
            typer.echo(sentence)
    if wrong:
        raise typer.Exit(EXIT_DIFFERENT)


def _view(
    settings: Settings,
    what: str,
    noted: Noted,
    *,
    event: str | None,
    target: str | None,
    first: datetime | None,
    last: datetime | None,
) -> tuple[Sequence[str], Iterable[dict[str, Any]]]:
    """Columns and rows of a view."""
    if (event is not None) != (what == "event"):
        raise SettingsError("--event", "the view `event`, and no other, is of one event", "Name it with --event")
    if what == "event":
        told = event_stories(settings, event or "", target, last, noted)
        if not told:
            raise RequestError(
                f"event {event}", "the log knows no such event", "`peaktime audit requests` lists all there was"
            )
        return _STORY, [_story_row(line) for story in told for line in _story_lines(story_json(story))]
    if what == "diff":
        if first is None or last is None:
            raise SettingsError("--from and --until", "the view `diff` is between two log times", "Name both")
        changed = diff_between(settings, first, last, target, noted)
        return exporting.columns_of(DiffRow), exporting.dataclass_rows(changed)
    if what == "schedule":
        if first is not None:
            raise SettingsError("--from", "the view `schedule` is as it stood at one log time", "Name it with --until")
        standing = sorted(schedule_rows(settings, last, target, noted), key=lambda row: row.key)
        return exporting.columns_of(ScheduleRow), exporting.dataclass_rows(standing)
    asked = request_rows(settings, Filter(since=first, until=last, target=target), noted)
    return exporting.columns_of(RequestRow), exporting.dataclass_rows(sorted(asked, key=lambda r: place_order(r.place)))


def _story_lines(story: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for line in story["lines"]:
        yield {"key": story["key"], "title": story["title"], **line}


def _story_row(line: dict[str, Any]) -> dict[str, Any]:
    own = set(_STORY) - {"details"}
    return {
        **{name: line[name] for name in own},
        "details": {name: value for name, value in line.items() if name not in own},
    }


def _topic(settings: Settings, what: str) -> TopicSpec:
    catalogue = load_catalogue(settings.topic_prefix)
    short = what.removeprefix("topic:")
    spec = next((spec for spec in catalogue if short in (spec.short, spec.name)), None)
    if spec is None:
        names = ", ".join(spec.short for spec in catalogue)
        raise SettingsError("WHAT", f"{what!r} is no view or topic", f"Use {', '.join(VIEWS)}, {names}")
    return spec


def _topic_rows(settings: Settings, spec: TopicSpec, noted: Noted, since: datetime | None) -> Iterable[dict[str, Any]]:
    """Every record of a topic by partition and offset; notes what was read when it is."""
    codec = open_codec(settings)
    with open_log(settings) as log, Progress(shown=True) as progress:
        noted.spans += log.spans([spec.name], since=since)
        total = sum(span.end - span.start for span in noted.spans)
        for span in noted.spans:
            for raw in log.read([span], lambda done: progress.moved(total, done)):
                if _counts(raw, since) and noted.seen.take(raw):
                    yield exporting.topic_row(raw, spec.record, codec)


def _counts(raw: Raw, since: datetime | None) -> bool:
    # Where senders give the time, a later offset may be of an earlier one.
    return since is None or raw.log_time >= since


def _told(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
