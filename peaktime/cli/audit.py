"""``peaktime audit``: who asked for what, what was decided and done, and whether it would be the same again.

For: auditors and engineers. Everything is computed from the log; nothing is written but to stdout, and for ``export``
to the folder that is named. Must not: import anything that has effects.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from peaktime.cli.audit_export import check_export, export
from peaktime.cli.audit_plot import plot
from peaktime.cli.reading import EXIT_DIFFERENT, EXIT_NOT_FOUND, end, instant
from peaktime.cli.replay import story_json, story_lines
from peaktime.cli.tables import print_lines, show, tame
from peaktime.cli.views import diff_between, event_stories, place_order, request_rows, run_session, schedule_rows
from peaktime.errors import SettingsError
from peaktime.settings import Settings
from processors.replay import export as exporting
from processors.replay.findings import Scope
from processors.replay.refold import Fate
from processors.replay.report import FATES, report_json, report_lines
from processors.replay.views import DiffRow, Filter, ScheduleRow, local

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who asked for what, and what came of it.")

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Target = Annotated[str | None, typer.Option(help="Only this target.")]
_End = Annotated[
    str, typer.Argument(metavar="TIME|OFFSETS", help="Log time, local unless it has an offset; or requests:3=1042,...")
]
_Time = Annotated[str, typer.Argument(metavar="TIME", help="Log time; local unless it has an offset.")]


@app.command()
def event(
    event: Annotated[
        str, typer.Argument(metavar="EVENT", help="infra/pa/2026-05-04, its event date, or the name of a run.")
    ],
    *,
    target: _Target = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME|OFFSETS", help="As it stood then, or before requests:3=1042,...")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Tell an event's story from the log alone: requests, verdicts, runs, messages and where they can be read."""
    settings = Settings.load()
    told = event_stories(settings, event, target, end(until, settings.tz, "--until"))
    if as_json:
        _print_json([story_json(story) for story in told])
    else:
        print_lines(line for story in told for line in story_lines(story, settings.zone))
    if not told:
        typer.echo(f"peaktime: {event}: the log knows no such event. `peaktime audit requests` lists all", err=True)
        raise typer.Exit(EXIT_NOT_FOUND)


@app.command()
def requests(
    *,
    since: Annotated[
        str | None, typer.Option("--from", "--since", metavar="TIME", help="From this log time on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME|OFFSETS", help="Up to this log time, or before requests:3=1042,...")
    ] = None,
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
        since=instant(since, settings.tz, "--from"),
        until=end(until, settings.tz, "--until"),
        owner=owner,
        origin=origin,
        target=target,
        verdicts=_fates(verdict or ()),
        text=text,
    )
    rows = sorted(request_rows(settings, wanted), key=lambda row: (row.at, place_order(row.place)))
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    columns = ("at", "verdict", "action", "target", "event_date", "origin", "title", "owner", "reason")
    _print_table(rows, columns, settings.zone)


@app.command()
def at(time: _End, *, target: _Target = None, as_json: _Json = False) -> None:
    """Show what was asked for, as it stood at a log time, or before offsets."""
    settings = Settings.load()
    moment = end(time, settings.tz, "TIME")
    rows = sorted(schedule_rows(settings, moment, target), key=lambda row: (row.target, row.starts_at, row.key))
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    _print_table(rows, exporting.columns_of(ScheduleRow)[1:-1], settings.zone)


@app.command()
def diff(before: _Time, after: _Time, *, target: _Target = None, as_json: _Json = False) -> None:
    """Show what changed between two log times, and by whom."""
    settings = Settings.load()
    rows = diff_between(settings, instant(before, settings.tz, "TIME"), instant(after, settings.tz, "TIME"), target)
    if as_json:
        _print_json(list(exporting.dataclass_rows(rows)))
        return
    _print_table(rows, exporting.columns_of(DiffRow), settings.zone)


@app.command()
def verify(
    *,
    cluster: Annotated[bool, typer.Option("--cluster/--no-cluster", help="Look at the cluster, too.")] = True,
    as_json: _Json = False,
) -> None:
    """Fold the log again and compare all that followed: tables, dead letters, notifications, deliveries, the cluster.

    Ends with 0 if everything is as it should be, 2 if something differs, 1 if log or cluster cannot be read.
    """
    settings = Settings.load()
    report = run_session(settings, Scope(notices=True, zone=settings.zone), told=False)
    if cluster:
        from peaktime.cli.audit_cluster import compare_cluster  # noqa: PLC0415  (only if it is looked at)

        compare_cluster(settings, report)
    if as_json:
        _print_json(report_json(report))
    else:
        print_lines(report_lines(report, settings.zone))
    if not report.same:
        raise typer.Exit(EXIT_DIFFERENT)


app.command("export")(export)
app.command("check-export")(check_export)
app.command("plot")(plot)


def _fates(names: Sequence[str]) -> frozenset[Fate]:
    known = {fate.value: fate for fate in FATES}
    # Also as the accounting in JSON spells it.
    asked = [name.lower().replace("_", "-") for name in names]
    for name, fate in zip(names, asked, strict=True):
        if fate not in known:
            raise SettingsError("--verdict", f"{name!r} is none", f"Use {', '.join(known)}")
    return frozenset(known[fate] for fate in asked)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[Any], columns: Sequence[str], zone: str) -> None:
    table = Table(*(name.replace("_", " ") for name in columns))
    for row in rows:
        cells = (str(getattr(row, name)) for name in columns)
        shown = [
            local(cell, zone) if name == "at" or name.endswith("_at") else cell
            for name, cell in zip(columns, cells, strict=True)
        ]
        # Somebody's words must style neither the table nor the terminal.
        table.add_row(*(escape(tame(cell)) for cell in shown))
    show(table)
