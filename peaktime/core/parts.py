"""Which entries of a target bear on each other: those whose windows share an unbroken stretch.

What fires, and which scale-in ends what, is decided within a stretch; so entries that share none can be judged apart.
The index follows the entries as they change, at a cost that does not grow with their number.

Pure: standard library, ``schemas.records`` and the core only. Levels do not matter here: a profile that is not known
may join what could be judged apart, and never the other way round.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from peaktime.core.capacity import timeline
from peaktime.core.windows import lone_scale_in
from schemas.records import Action, Entry


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """A stretch and the keys of the entries that have a part in it."""

    starts_at: datetime
    ends_at: datetime | None
    keys: tuple[str, ...]


class Parts:
    """The entries of one target by stretch. A set of keys that shares no stretch with any other is called closed."""

    def __init__(self, by_key: Mapping[str, Entry]) -> None:
        """Work out the stretches of all entries.

        Args:
            by_key: the entries by their key.
        """
        self._starts: list[datetime] = []
        self._blocks: list[_Block] = []
        self._of: dict[str, tuple[_Block, ...]] = {}
        self._put(_blocks(by_key.values()))

    def update(self, by_key: Mapping[str, Entry], changed: Iterable[str]) -> set[str]:
        """Take what became of some entries; the closed set that holds all they bore on before, and bear on now.

        Args:
            by_key: all entries as they are now.
            changed: keys of those that are new, changed or gone.
        """
        part = self.closed(changed)
        while True:
            found = _blocks(by_key[key] for key in part if key in by_key)
            more = {key for one in found for block in self._touching(one) for key in block.keys} - part
            if not more:
                break
            part |= self.closed(more)
        for key in part:
            self._drop(key)
        self._put(found)
        return part

    def closed(self, keys: Iterable[str]) -> set[str]:
        """The smallest closed set with these keys; a key without a window stands for itself."""
        part = set(keys)
        new = list(part)
        while new:
            for block in self._of.get(new.pop(), ()):
                for key in block.keys:
                    if key not in part:
                        part.add(key)
                        new.append(key)
        return part

    def around(self, begin: datetime, end: datetime) -> set[str]:
        """The keys of all stretches that touch the time from begin to end."""
        return {key for block in self._touching(_Block(begin, end, ())) for key in block.keys}

    def before(self, instant: datetime) -> set[str]:
        """The keys of the last stretch that began until an instant."""
        index = bisect_right(self._starts, instant)
        return set(self._blocks[index - 1].keys) if index else set()

    def in_order(self) -> Iterator[str]:
        """The keys that have a stretch, in order of time; one with several comes several times."""
        for block in self._blocks:
            yield from block.keys

    def _touching(self, one: _Block) -> list[_Block]:
        last = len(self._starts) if one.ends_at is None else bisect_right(self._starts, one.ends_at)
        first = max(bisect_right(self._starts, one.starts_at) - 1, 0)
        return [block for block in self._blocks[first:last] if block.ends_at is None or block.ends_at >= one.starts_at]

    def _drop(self, key: str) -> None:
        for block in self._of.pop(key, ()):
            index = bisect_left(self._starts, block.starts_at)
            if index < len(self._blocks) and self._blocks[index] is block:
                del self._starts[index], self._blocks[index]

    def _put(self, found: list[_Block]) -> None:
        for block in found:
            if not self._starts or block.starts_at > self._starts[-1]:
                self._starts.append(block.starts_at)
                self._blocks.append(block)
            else:
                index = bisect_left(self._starts, block.starts_at)
                self._starts.insert(index, block.starts_at)
                self._blocks.insert(index, block)
            for key in block.keys:
                self._of[key] = (*self._of.get(key, ()), block)


def _one(_entry: Entry, _action: Action) -> int:
    return 1


def _blocks(entries: Iterable[Entry]) -> list[_Block]:
    """The stretches of some entries by themselves, in order of time."""
    entries = list(entries)
    line = timeline(entries, _one)
    starts = [stretch.starts_at for stretch in line.stretches]
    keys: list[set[str]] = [set() for _ in starts]
    used = set()
    for window in line.windows:
        members = keys[bisect_right(starts, window.starts_at) - 1]
        members.add(window.entry)
        if window.scale_in_entry != window.entry:
            members.add(window.scale_in_entry)
            used.add(window.scale_in_entry)
    for entry in entries:
        lone = lone_scale_in(entry)
        if lone is not None and entry.key not in used:
            keys[bisect_right(starts, lone.at) - 1].add(entry.key)
    return [
        _Block(stretch.starts_at, stretch.ends_at, tuple(sorted(members)))
        for stretch, members in zip(line.stretches, keys, strict=True)
    ]
