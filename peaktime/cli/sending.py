"""Putting a request on the log from a command, and saying where it stands.

For: the commands that ask for something. Must not: judge the request; the command has done that.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import typer

from peaktime.cli.wiring import open_publisher
from peaktime.core.requests import event_date_of
from peaktime.errors import PublishError
from peaktime.settings import Settings
from schemas.records import ScaleRequest, to_avro


def show(wanted: ScaleRequest) -> None:
    """Print the record as JSON with its Avro names, times as ISO 8601."""
    plain = {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in to_avro(wanted).items()
    }
    typer.echo(json.dumps(plain, ensure_ascii=False, indent=2))


def send(settings: Settings, wanted: ScaleRequest, name: str, *, as_json: bool) -> None:
    """Publish the request, and print its position once Kafka has acknowledged it.

    Args:
        settings: where Kafka is.
        wanted: the request.
        name: what is asked for, in words.
        as_json: print JSON.

    Raises:
        PublishError: it may not be on the log; the error says how to try again without asking twice.
    """
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
