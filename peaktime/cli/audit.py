"""``peaktime audit``: who asked for what, what was decided and done, and whether it would be the same again.

For: auditors and engineers. Everything is computed from the log; nothing is written but to stdout, and for ``export``
to the folder that is named. Must not: import anything that has effects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from peaktime.cli.reading import EXIT_DIFFERENT, Progress, instant, open_codec, open_log, open_session
from peaktime.cli.replay import story_json, story_lines
from peaktime.cli.tables import show
from peaktime.errors import SettingsError
from peaktime.settings import Settings
from processors.replay import export as exporting
from processors.replay.findings import Report, Scope
from processors.replay.log import Raw
from processors.replay.refold import Fate, Step
from processors.replay.report import FATES, report_json, report_lines
from processors.replay.session import Observer
from processors.replay.story import Stories, wanted_event
from processors.replay.views import (
    DiffRow,
    Filter,
    RequestRow,
    ScheduleRow,
    diff_rows,
    local,
    request_row,
    schedule_row,
)
from schemas.catalogue import load_catalogue
from schemas.records import Entry

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who asked for what, and what came of it.")

EXIT_NOT_FOUND = 1
_KEY_PARTS = 3
_SHORT = 60

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Target = Annotated[str | None, typer.Option(help="Only this target.")]
_Time = Annotated[str, typer.Argument(metavar="TIME", help="Log time; local unless it has an offset.")]


@app.command()
def event(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="infra/pa/2026-05-04, or its event date.")],
    *,
    target: _Target = None,
    as_json: _Json = False,
) -> None:
    """Tell an event's story from the log alone: requests, verdicts, runs, messages and where they can be read."""
    settings = Settings.load()
    if target is None and event.count("/") == _KEY_PARTS - 1:
        target = event.partition("/")[0]
    stories = Stories(wanted_event(event, target), settings.zone)
    scope = Scope(target=target, compare=False, zone=settings.zone)
    _run(settings, scope, stories=stories)
    told = stories.all()
    if as_json:
        _print_json([story_json(story) for story in told])
    else:
        _print_lines(line for story in told for line in story_lines(story, settings.zone))
    if not told:
        typer.echo(f"peaktime: {event}: the log knows no such event. `peaktime audit requests` lists all", err=True)
        raise typer.Exit(EXIT_NOT_FOUND)


@app.command()
def requests(
    *,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this log time on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this log time.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose name contains this.")] = None,
    origin: Annotated[str | None, typer.Option(help="pa, operator, or a calendar's id.")] = None,
    target: _Target = None,
    verdict: Annotated[list[str] | None, typer.Option(help="Only with this fate; may be repeated.")] = None,
    text: Annotated[str | None, typer.Option(help="Title, description, id or event date contains this.")] = None,
    as_json: _Json = False,
) -> None:
    """List requests: who asked for what and when, and what became of it."""
    settings = Settings.load()
    wanted = Filter(
        since=instant(since, settings.tz, "--since"),
        until=instant(until, settings.tz, "--until"),
        owner=owner,
        origin=origin,
        target=target,
        verdicts=_fates(verdict or ()),
        text=text,
    )
    rows = _request_rows(settings, Scope(until=wanted.until, compare=False, zone=settings.zone), wanted)
    rows.sort(key=lambda row: (row.at, _place(row.place)))
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    columns = ("at", "verdict", "action", "target", "event_date", "origin", "title", "owner", "reason")
    _print_table(rows, columns, settings.zone)


@app.command()
def at(time: _Time, *, target: _Target = None, as_json: _Json = False) -> None:
    """Show what was asked for, as it stood at a log time."""
    settings = Settings.load()
    moment = instant(time, settings.tz, "TIME")
    report = _run(settings, Scope(target=target, until=moment, compare=False, zone=settings.zone))
    rows = sorted(map(schedule_row, report.entries.values()), key=lambda row: (row.target, row.starts_at, row.key))
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    _print_table(rows, exporting.columns_of(ScheduleRow)[1:-1], settings.zone)


@app.command()
def diff(before: _Time, after: _Time, *, target: _Target = None, as_json: _Json = False) -> None:
    """Show what changed between two log times, and by whom."""
    settings = Settings.load()
    first, second = (instant(text, settings.tz, "TIME") for text in (before, after))
    old: dict[str, Entry] = {}

    def remember(step: Step) -> None:
        if first is not None and step.log_time <= first:
            for key, row in step.changes.items():
                if isinstance(row, Entry) and target in (None, row.target):
                    old[key] = row
                elif row is None:
                    old.pop(key, None)

    report = _run(settings, Scope(target=target, until=second, compare=False, zone=settings.zone), remember)
    rows = list(diff_rows(old, report.entries))
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    _print_table(rows, exporting.columns_of(DiffRow), settings.zone)


@app.command()
def verify(*, as_json: _Json = False) -> None:
    """Fold the log again and compare all that followed: tables, dead letters, notifications, deliveries.

    Ends with 0 if everything is as it should be, 2 if something differs, 1 if the log cannot be read.
    """
    settings = Settings.load()
    report = _run(settings, Scope(notices=True, zone=settings.zone))
    if as_json:
        _print_json(report_json(report))
    else:
        _print_lines(report_lines(report, settings.zone))
    if not report.same:
        raise typer.Exit(EXIT_DIFFERENT)


@app.command()
def export(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="requests, schedule, or a topic: entries, outcomes, ...")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    *,
    shape: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="How rows are written.")] = "jsonl",
) -> None:
    """Write a view or a topic to a file, with a manifest. The same log gives the same bytes.

    Rows of requests and of topics come by partition and offset. `requests` and `schedule` are views; to export the
    topic of requests as it stands, say topic:requests.
    """
    settings = Settings.load()
    seen = exporting.Seen()
    if what in ("requests", "schedule"):
        view, spans = _view(settings, what, seen)
        columns = exporting.columns_of(RequestRow if what == "requests" else ScheduleRow)
        content: Iterable[bytes] = exporting.lines(view, columns, shape)
        path = exporting.write(
            folder,
            f"{what}.{shape}",
            content,
            what=what,
            spans=spans,
            seen=seen,
            version=version("peaktime"),
        )
    else:
        short = what.removeprefix("topic:")
        spec = next((spec for spec in load_catalogue(settings.topic_prefix) if short in (spec.short, spec.name)), None)
        if spec is None:
            names = ", ".join(spec.short for spec in load_catalogue(settings.topic_prefix))
            raise SettingsError("WHAT", f"{what!r} is no view or topic", f"Use requests, schedule, {names}")
        codec = open_codec(settings)
        with open_log(settings) as log:
            spans = log.spans([spec.name])

            def rows() -> Iterable[dict[str, Any]]:
                for span in spans:
                    for raw in log.read([span]):
                        seen.take(raw)
                        yield exporting.topic_row(raw, spec.record, codec)

            path = exporting.write(
                folder, f"{spec.short}.{shape}", exporting.lines(rows(), exporting.TOPIC_COLUMNS, shape),
                what=f"topic:{spec.short}", spans=spans, seen=seen, version=version("peaktime"),
            )  # fmt: skip
    typer.echo(str(path))


@app.command("check-export")
def check_export(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of an export.")]) -> None:
    """Check that an export is still what was written. Ends with 0 if it is, 2 if not; it needs no Kafka."""
    wrong = exporting.check(folder)
    for sentence in wrong:
        typer.echo(sentence)
    if wrong:
        raise typer.Exit(EXIT_DIFFERENT)
    typer.echo(f"{folder}: as it was exported")


def _run(settings: Settings, scope: Scope, *observers: Observer, stories: Stories | None = None) -> Report:
    with open_log(settings) as log, Progress(shown=True) as progress:
        session = open_session(settings, log, scope, progress)
        if stories is None:
            return session.run(*observers)
        return session.run(stories.step, notifications=stories.notification, deliveries=stories.delivery)


def _request_rows(settings: Settings, scope: Scope, wanted: Filter) -> list[RequestRow]:
    rows: list[RequestRow] = []

    def take(step: Step) -> None:
        if step.topic == "requests" and wanted.meets(step):
            rows.append(request_row(step))

    _run(settings, scope, take)
    return rows


def _view(settings: Settings, what: str, seen: exporting.Seen) -> tuple[Iterable[dict[str, Any]], Any]:
    rows: list[Any] = []

    def take(step: Step) -> None:
        if step.topic == "requests":
            millis = round(step.log_time.timestamp() * 1000)
            seen.take(Raw(step.place.topic, step.place.partition, step.place.offset, millis, None, None))
            if what == "requests":
                rows.append(request_row(step))

    report = _run(settings, Scope(compare=False, zone=settings.zone), take)
    if what == "requests":
        rows.sort(key=lambda row: _place(row.place))
    else:
        rows = sorted(map(schedule_row, report.entries.values()), key=lambda row: row.key)
    return exporting.dataclass_rows(rows), report.spans


def _fates(names: Sequence[str]) -> frozenset[Fate]:
    known = {fate.value: fate for fate in FATES}
    for name in names:
        if name.lower() not in known:
            raise SettingsError("--verdict", f"{name!r} is none", f"Use {', '.join(known)}")
    return frozenset(known[name.lower()] for name in names)


def _place(place: str) -> tuple[str, int, int]:
    topic, partition, offset = place.rsplit("/", 2)
    return topic, int(partition), int(offset)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_lines(lines: Iterable[str]) -> None:
    out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for line in lines:
        out.print(line)


def _print_table(rows: Sequence[Any], columns: Sequence[str], zone: str) -> None:
    table = Table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        cells = (str(getattr(row, name)) for name in columns)
        shown = [
            local(cell, zone) if name == "at" or name.endswith("_at") else cell
            for name, cell in zip(columns, cells, strict=True)
        ]
        # Somebody's words must not style the table.
        table.add_row(*map(escape, shown))
    show(table)
