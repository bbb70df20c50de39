"""What operators' commands have in common: a request that says who and why, published once it would be taken.

For: ``peaktime rerun``, ``pause`` and ``resume``. Must not: have rules of its own; the fold's are asked beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from peaktime import logs
from peaktime.cli.request import clock_of
from peaktime.cli.sending import send, show
from peaktime.core.requests import refusal
from peaktime.core.validity import OPERATOR, PAUSE_EVENT
from peaktime.errors import RequestError
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from producers.pa.mapping import Endpoint, new_request_id, unknown
from schemas.records import RequestAction, ScaleRequest

Who = Annotated[str, typer.Option("--owner", help="Who asks.")]
Why = Annotated[str, typer.Option("--why", help="Why; it goes on the log, and people are told.")]
RequestId = Annotated[str | None, typer.Option(help="Repeat it to try again; a fresh one if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the record, and publish nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Ask even for a target that no profile knows.")]


def settings_of_command() -> Settings:
    """The settings, with logging set up."""
    settings = Settings.load()
    logs.configure(settings)
    return settings


def operators_request(
    settings: Settings,
    action: RequestAction,
    target: str,
    *,
    owner: str,
    why: str,
    request_id: str | None,
    origin: str = OPERATOR,
    event_date: str = PAUSE_EVENT,
    run: str | None = None,
) -> ScaleRequest:
    """The request of an operator, stamped with this process's time.

    Args:
        settings: of this process.
        action: RERUN, PAUSE or RESUME.
        target: the target.
        owner: who asks.
        why: the reason.
        request_id: a given id, None for a fresh one.
        origin: of the event that a run belongs to.
        event_date: of that event.
        run: what is to be run again.
    """
    return ScaleRequest(
        request_id=request_id or new_request_id(),
        action=action,
        target=target,
        event_date=event_date,
        origin=origin,
        description=why,
        owner=owner,
        run=run,
        requested_at=clock_of(settings)(),
    )


def whole_target(action: RequestAction, told: str) -> Callable[..., None]:
    """A command that asks for something about a whole target.

    Args:
        action: PAUSE or RESUME.
        told: what ``--help`` says of it.
    """

    def command(
        target: Annotated[str, typer.Argument(help="What is scaled as one, e.g. infra.")],
        *,
        owner: Who,
        why: Why,
        request_id: RequestId = None,
        as_json: Json = False,
        dry_run: DryRun = False,
        force: Force = False,
    ) -> None:
        settings = settings_of_command()
        if action is RequestAction.PAUSE and not force:
            _known(target, settings)
        wanted = operators_request(settings, action, target, owner=owner, why=why, request_id=request_id)
        publish(settings, wanted, as_json=as_json, dry_run=dry_run)

    command.__doc__ = told
    return command


def _known(target: str, settings: Settings) -> None:
    """Refuse a target that was mistyped: whoever pauses relies on it.

    Raises:
        RequestError: no profile knows the target.
    """
    reason = unknown(Endpoint(action=RequestAction.PAUSE, target=target), load_profiles(settings.profiles))
    if reason is not None:
        raise RequestError(f"pause of {target}", [reason], "Correct it, or ask all the same with --force")


def publish(settings: Settings, wanted: ScaleRequest, *, as_json: bool, dry_run: bool) -> None:
    """Put the request on the log and say where it stands.

    Raises:
        RequestError: it would be rejected.
        PublishError: Kafka did not take it.
    """
    name = f"{wanted.action.lower()} of {wanted.run or wanted.target}"
    refused = refusal(wanted, wanted.requested_at)
    if refused is not None:
        raise RequestError(name, [refused[1]], "Correct it, and ask again")
    if dry_run:
        show(wanted)
        return
    send(settings, wanted, name, as_json=as_json)
