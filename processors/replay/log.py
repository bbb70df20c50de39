"""A record as it stands on the log, and the stretches of the log that replay reads.

Pure data, shared by what reads and what judges. Must not: know Kafka's client, or what a record means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from peaktime.errors import SettingsError
from schemas.headers import REPUBLISHED_FROM
from schemas.records import instant_of_millis

#: Header of a forwarded record: where it was found. The guard of the workers writes it.
FORWARDED_FROM = "peaktime-forwarded-from"
#: Headers of a dead letter: where the record was found, and why it was put aside.
LETTER_TOPIC = "__connect.errors.topic"
LETTER_PARTITION = "__connect.errors.partition"
LETTER_OFFSET = "__connect.errors.offset"
LETTER_MESSAGE = "__connect.errors.exception.message"
LETTER_STAGE = "peaktime-stage"
LETTER_CODE = "peaktime-reason"


class Place(NamedTuple):
    """One record's place: full topic name, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """``topic/partition/offset``, as notifications name their source."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Raw(NamedTuple):
    """One record as it stands on the log, not understood yet; ``timestamp`` in milliseconds since 1970, UTC."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.topic, self.partition, self.offset)

    @property
    def log_time(self) -> datetime:
        """When it reached the log (UTC)."""
        return instant_of_millis(self.timestamp)

    def header(self, name: str) -> str | None:
        """The text of a header; of several with one name the last, None if there is none."""
        found = None
        for header, value in self.headers or ():
            if header == name:
                found = (value or b"").decode(errors="replace")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What is read of one partition: from ``start`` up to, and not including, ``end``.

    Attributes:
        low: where the partition begins now; what was before it is not there any more.
    """

    topic: str
    partition: int
    start: int
    end: int
    low: int = 0

    @property
    def trimmed(self) -> bool:
        """Whether there was something before the first record that is read."""
        return self.start > 0


@dataclass(frozen=True, slots=True)
class Offsets:
    """A place on the log: by short topic name and partition, how far it is read. Others are read to their ends."""

    ends: Mapping[tuple[str, int], int]

    def cut(self, spans: Iterable[Span], short: Mapping[str, str]) -> list[Span]:
        """The spans, up to that place.

        Args:
            spans: what there is to read.
            short: the topics' short names by their full ones.

        Raises:
            SettingsError: a partition is not among them, or the log has no such offset.
        """
        known = {(short[span.topic], span.partition): span for span in spans}
        for (topic, number), end in self.ends.items():
            span = known.get((topic, number))
            if span is None:
                remedy = "Leave it out, or check --target"
                raise SettingsError("--until", f"{topic} has no partition {number} that is read here", remedy)
            if not span.low <= end <= span.end:
                remedy = f"Name an offset from {span.low} to {span.end}"
                raise SettingsError("--until", f"{topic}:{number}={end} is not on the log", remedy)
        cut = []
        for place, span in known.items():
            end = min(span.end, self.ends.get(place, span.end))
            cut.append(replace(span, start=min(span.start, end), end=end))
        return cut


def place_of_letter(letter: Raw) -> Place | None:
    """Where the record of a dead letter was found; None if its headers do not say."""
    topic, partition, offset = (letter.header(name) for name in (LETTER_TOPIC, LETTER_PARTITION, LETTER_OFFSET))
    if topic is None or partition is None or offset is None or not (partition.isdecimal() and offset.isdecimal()):
        return None
    return Place(topic, int(partition), int(offset))


def copied_from(raw: Raw) -> Place | None:
    """Where the record stands that this is a copy of; None if it is no copy."""
    said = raw.header(REPUBLISHED_FROM)
    if said is None:
        return None
    name, _, offset = said.rpartition("/")
    topic, _, partition = name.rpartition("/")
    if not (topic and partition.isdecimal() and offset.isdecimal()):
        return None
    return Place(topic, int(partition), int(offset))


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as every writer of ours chooses it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
