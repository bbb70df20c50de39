"""What operators' commands have in common: a request that says who and why, published once it would be taken.

For: ``peaktime rerun``, ``pause`` and ``resume``. Must not: have rules of its own; the fold's are asked beforehand.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from peaktime import logs
from peaktime.cli.wiring import open_publisher
from peaktime.core.requests import event_date_of, refusal
from peaktime.core.validity import OPERATOR, PAUSE_EVENT
from peaktime.errors import PublishError, RequestError
from peaktime.settings import Settings
from producers.pa.mapping import new_request_id
from schemas.records import RequestAction, ScaleRequest, to_avro

Who = Annotated[str, typer.Option("--owner", help="Who asks.")]
Why = Annotated[str, typer.Option("--why", help="Why; it goes on the log, and people are told.")]
RequestId = Annotated[str | None, typer.Option(help="Repeat it to try again; a fresh one if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the record, and publish nothing.")]


def settings_of_command() -> Settings:
    """The settings, with logging set up."""
    settings = Settings.load()
    logs.configure(settings)
    return settings


def operators_request(
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
    """The request of an operator, stamped with this machine's time.

    Args:
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
        requested_at=datetime.now(UTC),
    )


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
        typer.echo(json.dumps(_plain(wanted), ensure_ascii=False, indent=2))
        return
    try:
        with open_publisher(settings, "cli") as publisher:
            position = publisher.publish(publisher.catalogue.requests, wanted.target, wanted)
    except PublishError as error:
        again = f"{error.remedy}: --request-id {wanted.request_id}"
        raise PublishError(error.thing, error.reason, again) from error
    if as_json:
        told = {"requestId": wanted.request_id, "target": wanted.target, "eventDate": event_date_of(wanted)}
        typer.echo(json.dumps({**told, "position": asdict(position)}))
    else:
        typer.echo(f"request {wanted.request_id} ({name}) is on the log at {position}")


def _plain(wanted: ScaleRequest) -> dict[str, Any]:
    return {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in to_avro(wanted).items()
    }
