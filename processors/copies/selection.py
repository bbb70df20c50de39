"""Which records of a topic are meant, by what somebody typed: time, key, event, offsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from peaktime.core.validity import event_date_of
from peaktime.errors import DecodeError, SettingsError
from processors.replay.log import Raw, Span
from schemas.catalogue import TopicSpec
from schemas.codec import Codec
from schemas.records import Entry, Fact, Notification, Outcome, ScaleRequest, entry_key

#: Offsets of one partition, the first and the last of them; the last is None for all that follow.
Range = tuple[int, int | None]
_RANGE = re.compile(r"(?P<partition>\d+)=(?P<first>\d+)(?P<more>-(?P<last>\d+)?)?")
#: Of which event a record is; empty if it is of none.
_EVENT_OF: dict[type[Any], Callable[[Any], str]] = {
    ScaleRequest: lambda r: entry_key(r.target, r.origin, event_date_of(r)),
    Entry: lambda e: e.key,
    Outcome: lambda o: o.entry,
    Fact: lambda f: f.outcome.entry,
    Notification: lambda n: n.entry,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is meant: a record that meets all of it. What is None or empty does not choose.

    Attributes:
        since: of this log time or later.
        until: of this log time or earlier.
        keys: with one of these keys.
        offsets: in one of these ranges, by partition.
        event: whether a record is of the event that is asked for.
    """

    since: datetime | None = None
    until: datetime | None = None
    keys: frozenset[bytes] = frozenset()
    offsets: Mapping[int, tuple[Range, ...]] = field(default_factory=dict)
    event: Callable[[Raw], bool] | None = None

    @property
    def chooses(self) -> bool:
        """Whether anything was said at all."""
        return bool(self.since or self.until or self.keys or self.offsets or self.event)

    def meets(self, raw: Raw) -> bool:
        """Whether a record is meant."""
        return (
            (self.since is None or raw.log_time >= self.since)
            and (self.until is None or raw.log_time <= self.until)
            and (not self.keys or raw.key in self.keys)
            and (not self.offsets or any(_within(raw.offset, r) for r in self.offsets.get(raw.partition, ())))
            and (self.event is None or self.event(raw))
        )

    def narrowed(self, spans: Iterable[Span]) -> list[Span]:
        """As much of the spans as has to be read.

        Raises:
            SettingsError: offsets are asked for in a partition that there is not.
        """
        found = list(spans)
        if not self.offsets:
            return found
        odd = sorted(set(self.offsets) - {span.partition for span in found})
        if odd:
            has = f"there are {len(found)}, from 0"
            raise SettingsError("--offsets", f"there is no partition {odd[0]}; {has}", "Name one of them")
        return [self._clipped(span, self.offsets[span.partition]) for span in found if span.partition in self.offsets]

    @staticmethod
    def _clipped(span: Span, ranges: tuple[Range, ...]) -> Span:
        first = min(first for first, _ in ranges)
        ends = [span.end if last is None else last + 1 for _, last in ranges]
        start = min(max(span.start, first), span.end)
        return replace(span, start=start, end=max(start, min(span.end, max(ends))))

    def lost(self, spans: Iterable[Span]) -> list[str]:
        """What was asked for by offset and is not there any more, or not yet; one sentence each."""
        told = []
        for span in spans:
            for first, last in self.offsets.get(span.partition, ()):
                where = f"{span.topic}/{span.partition}"
                if first < span.low:
                    told.append(f"{where} begins at offset {span.low} now: what was before is gone")
                if (first if last is None else last) >= span.end:
                    told.append(f"{where} ends before offset {span.end}: what comes after that is not there yet")
        return list(dict.fromkeys(told))


def _within(offset: int, wanted: Range) -> bool:
    first, last = wanted
    return offset >= first and (last is None or offset <= last)


def offset_ranges(texts: Iterable[str]) -> dict[int, tuple[Range, ...]]:
    """Offsets that somebody typed: ``3=100``, ``3=100-200`` (both included), ``3=100-``; several with commas.

    Raises:
        SettingsError: they are none.
    """
    found: dict[int, tuple[Range, ...]] = {}
    for text in (part.strip() for given in texts for part in given.split(",")):
        match = _RANGE.fullmatch(text)
        first, last = (int(match["first"]), match["last"]) if match else (0, None)
        end = None if match is None or (match["more"] and last is None) else int(last or first)
        if match is None or (end is not None and end < first):
            remedy = "Write PARTITION=OFFSET, PARTITION=FIRST-LAST or PARTITION=FIRST-"
            raise SettingsError("--offsets", f"{text!r} are none", remedy)
        partition = int(match["partition"])
        found[partition] = (*found.get(partition, ()), (first, end))
    return found


def of_event(wanted: Callable[[str], bool], spec: TopicSpec | None, codec: Codec) -> Callable[[Raw], bool]:
    """Whether a record of a topic is of an event; one that cannot be read is of none.

    Args:
        wanted: whether an entry key is meant.
        spec: the topic; None if the catalogue does not know it.
        codec: reads records.

    Raises:
        SettingsError: nobody can say of which event this topic's records are.
    """
    event_of = _EVENT_OF.get(spec.record) if spec is not None and spec.record is not None else None
    if spec is None or spec.record is None or event_of is None:
        what = "a topic that the catalogue does not know" if spec is None else spec.name
        raise SettingsError(
            "--event", f"records of {what} do not say of which event they are", "Use --key or --offsets"
        )
    record, key_of = spec.record, event_of

    def meets(raw: Raw) -> bool:
        if raw.value is None:
            # A dropped row has its event in its key.
            return record is Entry and wanted((raw.key or b"").decode(errors="replace"))
        try:
            key = key_of(codec.decode(record, raw.value))
        except DecodeError:
            return False
        return bool(key) and wanted(key)

    return meets
