"""The Kafka headers of a record: CloudEvents attributes in binary mode, and who wrote it.

For: everything that writes records, so that traces and auditors find the same attributes everywhere. Must not: be
needed for folding; a record without headers means the same.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

CONTENT_TYPE = "application/avro"
#: Name and version of the program that wrote a record.
PRODUCER = "peaktime-producer"
#: Of a dead letter: where the record was found (Kafka Connect's names), which stage put it aside, and why.
CONNECT = "__connect.errors."
LETTER_TOPIC = f"{CONNECT}topic"
LETTER_STAGE = "peaktime-stage"
LETTER_REASON = "peaktime-reason"
#: Of a record in the dead letters that is no letter, but says what became of one.
LETTER_FATE = "peaktime-letter-fate"
#: Of a record that was sent again from the dead letters: for the how-manieth time, and which letter it was.
REDRIVE_ROUND = "peaktime-redrive-round"
REDRIVEN_FROM = "peaktime-redriven-from"
#: Of a copy that somebody made of a record: where the record stands, ``topic/partition/offset``, and its log time.
REPUBLISHED_FROM = "peaktime-republished-from"
REPUBLISHED_TIME = "peaktime-republished-log-time"


def record_headers(record: Any, *, source: str, at: datetime, producer: str) -> dict[str, str]:
    """The headers of a record.

    Args:
        record: one of ``schemas.records.RECORDS``.
        source: which part wrote it, e.g. ``gateway``.
        at: when it was written, aware.
        producer: name and version of the program, ``peaktime/0.1.0``.
    """
    return {
        "ce_specversion": "1.0",
        "ce_id": record_id(record),
        "ce_source": f"peaktime/{source}",
        "ce_type": f"peaktime.v1.{type(record).__name__}",
        "ce_time": at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "content-type": CONTENT_TYPE,
        PRODUCER: producer,
    }


def worker_headers(record: Any, source: str) -> dict[str, bytes]:
    """The headers of a record that a worker writes now, as Faust wants them."""
    said = record_headers(record, source=source, at=datetime.now(UTC), producer=producer_name())
    return {name: text.encode() for name, text in said.items()}


@cache
def producer_name() -> str:
    """Name and version of this program, as headers carry it."""
    try:
        return f"peaktime/{version('peaktime')}"
    except PackageNotFoundError:
        return "peaktime/unknown"


def record_id(record: Any) -> str:
    """A record's own id; for one that has none, its first field and the position that it comes from."""
    first = fields(record)[0].name
    if first in ("request_id", "outcome_id", "notification_id"):
        return str(getattr(record, first))
    subject = getattr(record, "key", getattr(record, first))
    position = getattr(record, "position", None)
    return f"{subject}@{position if position is not None else record.fingerprint}"


def tells_fate(headers: Container[str]) -> bool:
    """Whether a record in the dead letters says what became of one, by the names of its headers.

    A letter keeps the headers that it was found with, so a sender may have given it the header of a fate; but every
    letter says where it was found, and no fate does.
    """
    return LETTER_FATE in headers and LETTER_TOPIC not in headers
