"""What is copied: which records are still to be sent, where they may go, and with which headers.

A copy names the place of its record in a header. That is all that is remembered: whoever is asked again reads the
destination, so it goes on where it ended, however that was, and once done there is nothing left to do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from processors.copies.selection import Selection
from processors.replay.log import Place, Raw, Span, copied_from
from schemas.catalogue import Catalogue, TopicSpec
from schemas.headers import REPUBLISHED_FROM, REPUBLISHED_TIME

#: How many of the records to send are kept for showing.
SHOWN = 5
#: The role of whoever copies; it may write only where the catalogue lets it.
ROLE = "operator"


def why_not_there(source: str, destination: str, catalogue: Catalogue, *, meant: bool) -> tuple[str, str] | None:
    """Why records may not be copied to a topic, with what to do instead; None if they may.

    Args:
        source: full name of the topic that they stand in.
        destination: full name of the topic that they are to go to.
        catalogue: the topics of ours.
        meant: whether somebody said that they know what they do.
    """
    mean_it = "Say --i-mean-it if that is what you want"
    spec = catalogue.by_name(destination)
    if spec is None:
        if source == destination and not meant:
            return "that is the topic that they come from: each record would stand there once more", mean_it
        return None
    if ROLE not in spec.writers:
        because = ", where an old row would undo newer ones" if "compact" in spec.cleanup else ""
        return f"only {', '.join(spec.writers)} may write it{because}", "Name another topic"
    if spec.name != catalogue.requests.name:
        instead = {
            catalogue.dead_letters.name: "Use `peaktime dead-letters redrive`",
            catalogue.calendars.name: "Read the feed again with `peaktime import-calendar`",
        }
        reason = "what comes last counts there, so that an old record would undo newer ones"
        return reason, instead.get(spec.name, "Name another topic")
    record = _record_of(source, catalogue)
    if catalogue.by_name(source) is not None and record is not spec.record:
        return f"it holds requests, and {source} does not", "Name another topic"
    if not meant:
        what = "the topic that they come from" if source == destination else "a topic that workers read"
        return f"that is {what}: each copy is folded and answered once more", mean_it
    return None


def _record_of(name: str, catalogue: Catalogue) -> type[Any] | None:
    spec: TopicSpec | None = catalogue.by_name(name)
    return spec.record if spec is not None else None


def headers_of_copy(raw: Raw) -> list[tuple[str, bytes | None]]:
    """The headers of a copy: those of the record as they are, and where it stands, and since when."""
    ours = (REPUBLISHED_FROM, REPUBLISHED_TIME)
    stood = raw.log_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kept = [(name, value) for name, value in raw.headers or () if name not in ours]
    return [*kept, (REPUBLISHED_FROM, str(raw.place).encode()), (REPUBLISHED_TIME, stood.encode())]


def _copied_within(raw: Raw, topic: str) -> Place | None:
    origin = copied_from(raw)
    return origin if origin is not None and origin.topic == topic else None


@dataclass(slots=True)
class Copies:
    """What there is to do. Give it every record of the destination, then every one of the source.

    Attributes:
        source: full name of the topic that is copied from.
        destination: full name of the topic that is copied to.
        selection: which records are meant.
        selected: how many are.
        there: how many of them are at the destination already.
        first: log time of the earliest that is meant; None if none is.
        last: log time of the latest.
        shown: the first few that are still to be sent, without their headers.
    """

    source: str
    destination: str
    selection: Selection
    selected: int = 0
    there: int = 0
    first: datetime | None = None
    last: datetime | None = None
    shown: list[Raw] = field(default_factory=list)
    _copied: dict[int, set[int]] = field(default_factory=dict)
    _wanted: dict[int, array[int]] = field(default_factory=dict)

    def at_destination(self, raw: Raw) -> None:
        """Take a record of the destination."""
        origin = _copied_within(raw, self.source)
        if origin is not None:
            self._copied.setdefault(origin.partition, set()).add(origin.offset)

    def at_source(self, raw: Raw) -> None:
        """Take a record of the source; of one partition in order."""
        # Copied within its topic, a copy would be copied again by each run.
        if self.source == self.destination and _copied_within(raw, self.source) is not None:
            return
        if not self.selection.meets(raw):
            return
        self.selected += 1
        self.first = raw.log_time if self.first is None else min(self.first, raw.log_time)
        self.last = raw.log_time if self.last is None else max(self.last, raw.log_time)
        if raw.offset in self._copied.get(raw.partition, ()):
            self.there += 1
            return
        self._wanted.setdefault(raw.partition, array("q")).append(raw.offset)
        self.shown = sorted([*self.shown, raw._replace(headers=None)], key=lambda r: (r.timestamp, r.place))[:SHOWN]

    @property
    def to_send(self) -> int:
        """How many are still to be sent."""
        return self.selected - self.there

    def chunks(self, size: int) -> Iterator[tuple[Span, frozenset[int]]]:
        """What is to be sent, so many records at a time: where to read them, and which they are."""
        for partition, offsets in sorted(self._wanted.items()):
            for start in range(0, len(offsets), size):
                chunk = offsets[start : start + size]
                span = Span(topic=self.source, partition=partition, start=chunk[0], end=chunk[-1] + 1)
                yield span, frozenset(chunk)
