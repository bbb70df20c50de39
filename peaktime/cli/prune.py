"""``peaktime prune``: remove CronWorkflows of ours that the log does not explain, each by its name.

For: operators, after ``peaktime doctor`` has listed them. Must not: remove anybody else's object, what the log
explains, what changed since it was shown, or the Workflow of a run.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Annotated

import typer

from peaktime import logs
from peaktime.core.runs import Manifest
from peaktime.errors import ClusterError, SettingsError
from peaktime.settings import Settings
from processors.doctor.api import Api
from processors.doctor.broker import read_keys
from processors.doctor.checks import in_thread
from processors.doctor.lines import plain
from processors.doctor.unexplained import refusal, removal_of, strange_log, told
from schemas.catalogue import load_catalogue

EXIT_REFUSED = 1
_PATIENCE = 10.0


def command(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="CronWorkflows, as `peaktime doctor` says.")],
    *,
    namespace: Annotated[str | None, typer.Option(help="Theirs. [default: PEAKTIME_NAMESPACE]")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove CronWorkflows of ours that the log does not explain, after showing what is known of each.

    All of them or none: if one is refused, nothing is removed. Workflows stay. Ends with 1 if anything was not removed.
    """
    settings = Settings.load()
    logs.configure(settings)
    # What it has to say of a kubeconfig file is in the error.
    logging.getLogger("kubernetes").setLevel(logging.ERROR)
    if settings.cluster != "kubernetes":
        reason = f"is {settings.cluster}, and prune knows Kubernetes only"
        raise SettingsError("PEAKTIME_CLUSTER", reason, "Remove the file of the object by hand")
    asyncio.run(_prune(settings, list(dict.fromkeys(names)), namespace or settings.namespace, yes=yes))


async def _prune(settings: Settings, names: list[str], namespace: str, *, yes: bool) -> None:
    topic = load_catalogue(settings.topic_prefix).entries.name
    async with Api(settings.kubeconfig, _PATIENCE) as api:
        found = {name: await api.cron_workflow(namespace, name) for name in names}
        entries = await in_thread(lambda: read_keys(settings.confluent_options(), topic, _PATIENCE))
        _refuse(found, namespace, entries)
        objects = [obj for obj in found.values() if obj is not None]
        for obj in objects:
            await _show(api, obj, entries)
        if not entries:
            typer.echo(str(strange_log()))
        if not (yes or _confirmed(len(objects))):
            typer.echo("nothing is removed", err=True)
            raise typer.Exit(EXIT_REFUSED)
        failed = False
        for obj in objects:
            failed |= not await _removed(api, obj)
        if failed:
            raise typer.Exit(EXIT_REFUSED)


def _refuse(found: dict[str, Manifest | None], namespace: str, entries: set[str]) -> None:
    """End here if one of them must not be removed."""
    refused = {name: why for name, obj in found.items() if (why := refusal(name, obj, entries)) is not None}
    for name, (reason, remedy) in refused.items():
        typer.echo(plain(f"peaktime: CronWorkflow {namespace}/{name} is not removed: {reason}. {remedy}"), err=True)
    if refused:
        if len(refused) < len(found):
            typer.echo("peaktime: so nothing is removed; leave out what is refused", err=True)
        raise typer.Exit(EXIT_REFUSED)


async def _show(api: Api, obj: Manifest, entries: set[str]) -> None:
    metadata = obj["metadata"]
    runs = await api.runs_of(metadata["namespace"], metadata["name"])
    for word, text in told(obj, runs, entries):
        typer.echo(f"{word:<12}  {plain(text)}")
    typer.echo()


def _confirmed(count: int) -> bool:
    """Ask, if there is somebody to ask.

    Raises:
        SettingsError: there is nobody.
    """
    if not sys.stdin.isatty():
        raise SettingsError("prune", "asks before it removes, and there is no terminal to ask at", "Give --yes")
    return typer.confirm(f"Remove {'it' if count == 1 else f'these {count}'}?")


async def _removed(api: Api, obj: Manifest) -> bool:
    removal = removal_of(obj)
    place = f"CronWorkflow {removal.namespace}/{removal.name}"
    try:
        why_not = await api.remove(removal)
    except ClusterError as error:
        why_not = str(error)
    if why_not is not None:
        typer.echo(plain(f"peaktime: {place}: {why_not}"), err=True)
        return False
    typer.echo(f"{place}: removed; its Workflows stay")
    return True
