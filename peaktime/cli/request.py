"""``peaktime request``: ask for a scale-out or scale-in, or withdraw an event, from the command line.

For: people, and scripts that have one of PA's bodies. Must not: have rules of its own; it says what PA would say, by
the same mapping, and prints the record's position only once Kafka has acknowledged it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from peaktime import logs
from peaktime.cli.sending import send, show
from peaktime.core.requests import refusal
from peaktime.errors import RequestError
from peaktime.profiles import load_profiles
from peaktime.sandbox.clock import SandboxClock
from peaktime.settings import Settings
from producers.pa.mapping import Endpoint, parse_endpoint, request_from_pa, unknown
from schemas.records import RequestAction

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_Target = Annotated[str, typer.Option(help="What is to be scaled, e.g. infra.")]
_Day = Annotated[str, typer.Option(help="common, mon ... sun, or holiday.")]
_Band = Annotated[str, typer.Option(help="Time of day, one of the profiles' bands.")]
_EventDate = Annotated[str, typer.Option(help="The event's identity: 2026-05-04 or 2026-05-04T09:00, local.")]
_Title = Annotated[str, typer.Option(help="What people call the event.")]
_Owner = Annotated[str, typer.Option(help="Who asks.")]
_StartsAt = Annotated[str | None, typer.Option(help="When more capacity is wanted, local unless it has an offset.")]
_EndsAt = Annotated[str | None, typer.Option(help="Until when it is wanted.")]
_Description = Annotated[str, typer.Option(help="Anything people should know about it.")]
_Origin = Annotated[str, typer.Option(help="Whose event it is: operator, pa, or a calendar's id.")]
_RequestId = Annotated[str | None, typer.Option(help="Repeat it to try again; a fresh one if left out.")]
_Revision = Annotated[int | None, typer.Option(help="Raised with each change; a lower one is stale.", min=0)]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the record, and publish nothing.")]
_Force = Annotated[bool, typer.Option("--force", help="Publish even what will probably be rejected.")]


@app.callback(invoke_without_command=True)
def from_pa(
    context: typer.Context,
    *,
    file: Annotated[
        str | None,
        typer.Option("--from-pa", metavar="FILE", help="One of PA's bodies; - for stdin."),
    ] = None,
    endpoint: Annotated[str | None, typer.Option(help="Where PA would send it: create-infra-mon-night.")] = None,
    origin: _Origin = "pa",
    request_id: _RequestId = None,
    as_json: _Json = False,
    dry_run: _DryRun = False,
    force: _Force = False,
) -> None:
    """Ask for a scale-out or scale-in, or delete an event."""
    if context.invoked_subcommand is not None:
        # Left alone they would do nothing, and a --dry-run that does nothing publishes.
        if any(
            source is not None and source.name != "DEFAULT"
            for source in map(context.get_parameter_source, context.params)
        ):
            raise typer.BadParameter(f"put the options after {context.invoked_subcommand}")
        return
    if file is None or endpoint is None:
        raise typer.BadParameter("give scale-out, scale-in or delete, or --from-pa FILE with --endpoint NAME")
    _ask(parse_endpoint(endpoint), _read(file), request_id, origin, _How(as_json, dry_run, force))


def _scaling(action: RequestAction, told: str) -> Callable[..., None]:
    """A command that asks for one of an event's two actions.

    Args:
        action: SCALE_OUT or SCALE_IN.
        told: what ``--help`` says of it.
    """

    def command(
        *,
        target: _Target,
        event_date: _EventDate,
        title: _Title,
        owner: _Owner,
        day: _Day = "common",
        band: _Band = "common",
        starts_at: _StartsAt = None,
        ends_at: _EndsAt = None,
        description: _Description = "",
        origin: _Origin = "operator",
        request_id: _RequestId = None,
        revision: _Revision = None,
        as_json: _Json = False,
        dry_run: _DryRun = False,
        force: _Force = False,
    ) -> None:
        body = _body(
            event_date,
            title,
            owner,
            startsAt=starts_at,
            endsAt=ends_at,
            description=description,
            revision=revision,
        )
        endpoint = Endpoint(action=action, target=target, day=day, band=band)
        _ask(endpoint, body, request_id, origin, _How(as_json, dry_run, force))

    command.__doc__ = told
    return command


app.command("scale-out")(
    _scaling(RequestAction.SCALE_OUT, "Ask for more capacity. Without --starts-at it starts at its event date."),
)
app.command("scale-in")(
    _scaling(RequestAction.SCALE_IN, "Ask for everyday capacity again. Without --ends-at it is at its event date."),
)


@app.command("delete")
def delete(
    *,
    target: _Target,
    event_date: _EventDate,
    title: _Title = "",
    owner: _Owner = "",
    origin: _Origin = "operator",
    request_id: _RequestId = None,
    as_json: _Json = False,
    dry_run: _DryRun = False,
    force: _Force = False,
) -> None:
    """Withdraw an event: both its scale-out and its scale-in. It must be of the same origin."""
    endpoint = Endpoint(action=RequestAction.DELETE, target=target)
    _ask(endpoint, _body(event_date, title, owner), request_id, origin, _How(as_json, dry_run, force))


def clock_of(settings: Settings) -> Callable[[], datetime]:
    """The clock of this process: the sandbox's if there is one, else the machine's; aware, UTC."""
    if settings.clock_file is not None:
        return SandboxClock(settings.clock_file).now
    return lambda: datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _How:
    """How to publish, and how to tell."""

    as_json: bool
    dry_run: bool
    force: bool


def _body(event_date: str, title: str, owner: str, **more: object) -> dict[str, Any]:
    return {"message": {"eventDate": event_date, "title": title, "owner": owner, **more}}


def _read(file: str) -> object:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise RequestError(file, f"cannot be read: {error.strerror}", "Name a file with one of PA's bodies") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(file, f"is not JSON: {error}", "Give one of PA's bodies") from error


def _ask(endpoint: Endpoint, body: object, request_id: str | None, origin: str, how: _How) -> None:
    settings = Settings.load()
    logs.configure(settings)
    profiles, now = load_profiles(settings.profiles), clock_of(settings)()
    wanted = request_from_pa(body, endpoint, profiles=profiles, now=now, request_id=request_id, origin=origin)
    refused = refusal(wanted, now)
    reasons = [reason for reason in (unknown(endpoint, profiles), refused and refused[1]) if reason]
    if how.dry_run:
        show(wanted)
        for reason in reasons:
            typer.echo(f"would be refused: {reason}", err=True)
        return
    if reasons and not how.force:
        raise RequestError(endpoint.name, reasons, "Correct it, or publish it all the same with --force")
    send(settings, wanted, f"{endpoint.name}, {wanted.event_date}", as_json=how.as_json)
