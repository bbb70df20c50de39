"""What doctor asks of the schema registry.

A probe only; ``judge_kafka`` judges. Must not: register anything.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from processors.doctor.judge_cluster import clock_line
from processors.doctor.judge_kafka import SubjectSeen, registry_lines
from processors.doctor.lines import Line
from schemas.catalogue import Catalogue
from schemas.definitions import schema_json
from schemas.registry import COMPATIBILITY, SchemaRegistry


class Dated(httpx.HTTPTransport):
    """The network, noting what time the other side says it is.

    Args:
        ca_file: certificate authority of its TLS; the system's if None.

    Attributes:
        seen: this machine's time and the other's (UTC), of the last answer; None before one.
    """

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(verify=ssl.create_default_context(cafile=ca_file) if ca_file else True)
        self.seen: tuple[datetime, datetime | None] | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on."""
        before = datetime.now(UTC)
        response = super().handle_request(request)
        try:
            there = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
        except (KeyError, ValueError):
            there = None
        self.seen = before + (datetime.now(UTC) - before) / 2, there
        return response


def look(where: str, open_registry: Callable[[], SchemaRegistry], dated: Dated, catalogue: Catalogue) -> list[Line]:
    """The subjects of the catalogue, and the registry's clock.

    Args:
        where: the registry's address, without credentials.
        open_registry: gives a client of the registry over that network.
        dated: the network.
        catalogue: what should be registered.

    Raises:
        SchemaUnavailableError: the registry is away.
        SchemaRefusedError: it does not understand a schema of ours.
    """
    with open_registry() as registry:
        subjects = [_subject(registry, s.subject, schema_json(s.record.__name__)) for s in catalogue if s.record]
        lines = registry_lines(where, subjects, COMPATIBILITY)
    if dated.seen is not None:
        lines.append(clock_line("the schema registry", *dated.seen))
    return lines


def _subject(registry: SchemaRegistry, subject: str, schema: str) -> SubjectSeen:
    registered = registry.lookup(subject, schema) is not None
    return SubjectSeen(
        subject=subject,
        registered=registered,
        refusals=() if registered else registry.incompatibilities(subject, schema),
        compatibility=registry.compatibility(subject) if registered else None,
    )
