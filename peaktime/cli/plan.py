"""``peaktime plan``: what would be done to the cluster now, and why.

For: whoever wants to know before the worker does it, or why it does nothing. It asks what the worker asks, of the same
tables and the same cluster. Must not: write anywhere; it holds the cluster through a port that cannot.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand
from typer.exceptions import TyperException

from peaktime import logs
from peaktime.calendars import load_calendars
from peaktime.cli import EXIT_ERROR
from peaktime.cli.looking import clock_of, how_things_stand, iso, pause_json, targets_of
from peaktime.cli.tables import show
from peaktime.configuration import configuration_of
from peaktime.core import wording
from peaktime.core.evidence import time_of
from peaktime.core.outcomes import problem_subject
from peaktime.core.plan import Delete, Start, Write
from peaktime.core.profiles import Profiles
from peaktime.core.runs import ENTRY, FIRES_AT
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.app import circumstances_of, cluster_of
from processors.reconcile.preview import Preview, ReadOnly, preview
from schemas.records import Fact, FactState, Outcome

EXIT_SOMETHING = 2


class _Command(TyperCommand):
    """Wrong usage ends with 1, since 2 says that there is something to do."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        try:
            return super().make_context(*args, **more)
        except TyperException as error:
            # Every error that stands for wrong usage has one.
            error.exit_code = EXIT_ERROR
            raise


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="plan", cls=_Command)
def command(
    *,
    target: Annotated[str | None, typer.Option(help="Only this target.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what would be done to the cluster now, and why, without doing it.

    Ends with 0 if there is nothing to do, 2 if there is something, 1 if that cannot be known.
    """
    settings = Settings.load()
    logs.configure(settings)
    profiles = load_profiles(settings.profiles)
    found = asyncio.run(_previews(settings, profiles, target))
    something = any(one.plan.writes or one.plan.reports for one, _ in found)
    if as_json:
        now = clock_of(settings).now()
        targets = [plan_json(one, facts) for one, facts in found]
        document = {"at": iso(now), "zone": profiles.zone, "something": something, "targets": targets}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print(found, profiles.zone)
    if something:
        raise typer.Exit(EXIT_SOMETHING)


async def _previews(settings: Settings, profiles: Profiles, asked: str | None) -> list[tuple[Preview, dict[str, Fact]]]:
    """The previews of the targets that are meant, each with the facts that it was made against."""
    calendars = load_calendars(settings.calendars)
    cluster = ReadOnly(cluster_of(_there(settings), profiles, Metrics()))
    standing = await asyncio.to_thread(how_things_stand, settings, asked)
    found = []
    async with cluster.opened():
        for name in targets_of(asked, {*standing.targets(), *cluster.targets()}, profiles):
            entries, facts = standing.entries.of(name), standing.facts.of(name)
            at = replace(
                circumstances_of(settings, "plan"),
                now=clock_of(settings).now(),
                configuration=configuration_of(name, settings, profiles, calendars),
            )
            found.append((await preview(name, entries, facts, profiles, at, cluster), facts.by_subject))
    return found


def _there(settings: Settings) -> Settings:
    """The settings, if the cluster that they name is one that looking at does not make."""
    kind, _, path = settings.cluster.partition(":")
    if kind == "directory" and not Path(path).is_dir():
        raise ClusterError(f"directory {path}", "is not there", "Check PEAKTIME_CLUSTER; a worker makes it")
    return settings


def plan_json(one: Preview, facts: dict[str, Fact]) -> dict[str, Any]:
    """One target's plan, for programs."""
    return {
        "target": one.plan.target,
        "position": one.want.position,
        "paused": pause_json(one.want.pause),
        "writes": [write_json(write, one) for write in one.plan.writes],
        "reports": [
            {"kind": report.kind.value, "subject": report.subject, "entry": report.entry, "message": report.message}
            for report in one.plan.reports
        ],
        "problems": [
            {
                "code": problem.code,
                "about": problem.about,
                "entry": problem.entry,
                "message": problem.message,
                "reported": is_open(facts.get(problem_subject(problem.code, problem.about))),
            }
            for problem in one.plan.problems
        ],
        "lookAgain": iso(one.plan.look_again),
    }


def is_open(fact: Fact | None) -> bool:
    """Whether a problem is reported already."""
    return fact is not None and fact.state is FactState.OPEN


def write_json(write: Write, one: Preview) -> dict[str, Any]:
    """A write, for programs; ``firesAt`` is the instant of the run that it is about."""
    if isinstance(write, Delete):
        obj = one.seen.cron_workflows.get(write.name) or {}
        kind, metadata = "CronWorkflow", {"name": write.name, "namespace": write.namespace}
        notes = (obj.get("metadata") or {}).get("annotations") or {}
    else:
        kind, metadata = write.manifest["kind"], write.manifest["metadata"]
        notes = metadata.get("annotations") or {}
    return {
        "verb": type(write).__name__.lower(),
        "kind": kind,
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "firesAt": iso(time_of(notes.get(FIRES_AT))),
        "entry": notes.get(ENTRY, ""),
        "reason": write.reason,
    }


def _when(write: Write, fires_at: str | None, zone: str) -> str:
    """When the run of a write is: for one that is started now, since when it has been due."""
    at = time_of(fires_at)
    if at is None:
        return "now"
    told = wording.instant(at, zone)
    return f"now, due {told}" if isinstance(write, Start) else told


def rows(one: Preview, zone: str) -> Iterator[tuple[str, str, str, str]]:
    """A plan's lines: verb, object, when, reason; first the writes in their order, then the reports."""
    for write in one.plan.writes:
        told = write_json(write, one)
        yield told["verb"], f"{told['kind']} {told['name']}", _when(write, told["firesAt"], zone), told["reason"]
    for report in one.plan.reports:
        yield "report", f"{report.kind} {_subject(report)}", wording.instant(report.at, zone), report.message


def _subject(report: Outcome) -> str:
    return report.subject.removeprefix("run/").removeprefix("problem/")


def _print(found: list[tuple[Preview, dict[str, Fact]]], zone: str) -> None:
    lines = [(one.plan.target, *row) for one, _ in found for row in rows(one, zone)]
    if lines:
        table = Table("target", "do", "what", "when", "why", title=f"What would be done now ({zone})")
        for line in lines:
            # Somebody's words must not style the table.
            table.add_row(*map(escape, line))
        show(table)
    else:
        typer.echo("Nothing to do: the cluster is as it should be, and everything is reported.")
    for one, facts in found:
        if one.want.pause is not None:
            since = wording.instant(one.want.pause.changed_at, zone)
            typer.echo(f"{one.plan.target} is paused by {one.want.pause.owner} since {since}: {one.want.pause.why}")
        for problem in one.plan.problems:
            known = facts.get(problem_subject(problem.code, problem.about))
            reported = f"reported {wording.instant(known.log_time, zone)}" if known and is_open(known) else "new"
            typer.echo(f"problem ({reported}): {problem.message}")
