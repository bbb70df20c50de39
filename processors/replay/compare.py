"""What was folded again against what the log of a table says: equal, or every difference with its key and both sides.

Pure. A row is compared at the position that it has on the log, while the refold passes that position, so nothing but
the live rows is kept. Must not: call a difference what was merely not read yet, by the worker or by replay, nor what
goes back to before the beginning of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from processors.replay.refold import Row
from schemas.records import CalendarState, Entry, Fact, OutcomeKind, replace

S = TypeVar("S", Entry, Fact, CalendarState)


#: Reports that say something only after another one.
_NEED_A_PAST = frozenset({OutcomeKind.REMOVED, OutcomeKind.PROBLEM_CLOSED, OutcomeKind.SLOW})


class Kind(StrEnum):
    """In which way refold and log differ."""

    DIFFERENT = "different"
    MISSING = "missing on the log"
    BEHIND = "older on the log"
    LEFT = "still on the log"
    UNEXPLAINED = "only on the log"
    RULES = "decided by other rules"
    BEYOND = "from beyond the end of its log"
    MISPLACED = "in a partition that is not its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not as the log of requests, outcomes or snapshots makes it.

    Attributes:
        key: the row's key.
        kind: in which way.
        refolded: the row as folded again; None if there is none.
        logged: the row as its topic has it; None if there is none.
    """

    key: str
    kind: Kind
    partition: int
    refolded: Row | None
    logged: Row | None

    def details(self) -> list[tuple[str, str, str]]:
        """The fields that differ, with the refolded and the logged value, where both sides are there."""
        if self.refolded is None or self.logged is None:
            return []
        return list(_differing("", self.refolded, self.logged))


@dataclass(frozen=True, slots=True)
class Reach:
    """What can be judged of one partition of a source topic.

    Attributes:
        start: first offset that is read; more than 0 if the beginning is not there any more, or not asked for.
        end: offset at which reading stops.
        worker: offset up to which the worker has surely folded.
    """

    start: int
    end: int
    worker: int


@dataclass(slots=True)
class Result:
    """What the comparison of one table says.

    Attributes:
        equal: how many rows are equal.
        not_yet_read: how many keys wait for the worker, or for replay.
        older: how many rows cannot be judged, because they go back to before the beginning of the log.
        differences: all others, by partition and key.
        stale_writes: keys whose last record is older than one before it; the worker mends that when it starts.
        unjudged: the keys of rows that are not yet read, or that cannot be judged.
    """

    equal: int = 0
    not_yet_read: int = 0
    older: int = 0
    differences: list[Difference] = field(default_factory=list)
    stale_writes: list[str] = field(default_factory=list)
    unjudged: set[str] = field(default_factory=set)

    @property
    def same(self) -> bool:
        """Whether nothing differs; rows by other rules of deciding are no real difference."""
        return all(difference.kind is Kind.RULES for difference in self.differences)


@dataclass(slots=True)
class Table(Generic[S]):
    """The rows of one changelog as a starting worker would take them: the highest position of each key.

    Attributes:
        rows: the rows by key, each with its partition.
        newest: the highest position of any row, by partition; the worker has folded at least that far.
        stale_writes: keys whose last record is older than one before it.
        first: by partition and version of the rules, the lowest position that was decided by it.
        impossible: by partition and key, a row that no worker can have written there, and why not.
    """

    rows: dict[str, tuple[int, S]] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)
    stale_writes: dict[str, None] = field(default_factory=dict)
    first: dict[tuple[int, int], int] = field(default_factory=dict)
    impossible: dict[tuple[int, str], tuple[Kind, S]] = field(default_factory=dict)

    def put_impossible(self, partition: int, key: str, row: S, kind: Kind) -> None:
        """Take a record that no worker can have written; where it hides the row of its key, that row is gone."""
        self.impossible[partition, key] = kind, row
        if key in self.rows and self.rows[key][0] == partition:
            del self.rows[key]

    def put(self, partition: int, key: str, row: S | None) -> None:
        """Take a record of the changelog, in order of offset; None for a tombstone."""
        self.impossible.pop((partition, key), None)
        if row is None:
            if key in self.rows and self.rows[key][0] == partition:
                del self.rows[key]
                self.stale_writes.pop(key, None)
            return
        self.newest[partition] = max(row.position, self.newest.get(partition, -1))
        decided = partition, row.rules
        self.first[decided] = min(row.position, self.first.get(decided, row.position))
        known = self.rows.get(key)
        if known is not None and known[1].position > row.position:
            self.stale_writes[key] = None
            return
        self.rows[key] = partition, row
        self.stale_writes.pop(key, None)

    def since(self, rules: int) -> dict[int, int]:
        """By partition with rows by other rules, the first position decided by these; beyond all if there is none."""
        others = {partition for partition, version in self.first if version != rules}
        return {number: self.first.get((number, rules), self.newest[number] + 1) for number in others}

    def before(self, starts: Mapping[int, int]) -> Iterator[tuple[int, S]]:
        """The rows that were decided before the first offset that is read of their partition, and stand since."""
        for partition, row in self.rows.values():
            if row.position < starts.get(partition, 0):
                yield partition, row


class Comparison(Generic[S]):
    """One table against its refold.

    Args:
        table: the rows on the log.
        worker: by partition, the offset up to which the worker has surely folded the table's source.
        rules: version of the rules that fold now.
        reaches_back: whether a row, that was folded as given or not at all, goes back to before an offset.
    """

    def __init__(
        self,
        table: Table[S],
        worker: Mapping[int, int],
        *,
        rules: int,
        reaches_back: Callable[[S, S | None, int], bool],
    ) -> None:
        self._table: Table[S] = table
        self._worker = worker
        self._rules = rules
        self._reaches_back: Callable[[S, S | None, int], bool] = reaches_back
        self._equal: set[str] = set()
        self._other: dict[str, S] = {}
        # By key: the last change that the worker has surely made, and whether it dropped the row.
        self._due: dict[str, tuple[int, int, bool]] = {}
        self._waiting: set[str] = set()
        self._doubted: set[str] = set()

    def changed(self, partition: int, position: int, changes: Mapping[str, S | None]) -> None:
        """Take what folding one record changed."""
        surely = position < self._worker.get(partition, 0)
        for key, row in changes.items():
            logged = self._table.rows.get(key)
            if surely:
                if row is not None or logged is not None:
                    self._due[key] = partition, position, row is None
                else:
                    self._due.pop(key, None)
            if logged is None or logged[1].position != position or row is None:
                if not surely:
                    self._waiting.add(key)
            elif row == logged[1] or _decided_alike(row, logged[1]):
                self._equal.add(key)
                self._waiting.discard(key)
            else:
                self._other[key] = row
                self._waiting.discard(key)

    def doubt(self, keys: Iterable[str]) -> None:
        """Take keys whose rows may go back to before the beginning without a trace: if they differ, that may be why."""
        self._doubted.update(keys)

    def is_equal(self, key: str) -> bool:
        """Whether the row of a key is as it should be, and its whole history known."""
        return key in self._equal and key not in self._doubted

    def finish(self, reaches: Mapping[int, Reach], refolded: Callable[[str], S | None]) -> Result:
        """Judge every key.

        Args:
            reaches: what can be judged, by partition.
            refolded: the row of a key at the end of the refold, for showing.
        """
        result = Result(stale_writes=sorted(self._table.stale_writes))
        for key, (partition, row) in self._table.rows.items():
            reach = reaches.get(partition, Reach(0, 0, 0))
            verdict = self._judge(key, row, reach)
            if verdict is None:
                if row.position >= reach.end or key in self._waiting:
                    result.not_yet_read += 1
                    result.unjudged.add(key)
                elif key in self._equal:
                    result.equal += 1
                else:
                    result.older += 1
                    result.unjudged.add(key)
                continue
            shown = self._other.get(key) if verdict in (Kind.DIFFERENT, Kind.RULES) else refolded(key)
            if reach.start and (key in self._doubted or self._reaches_back(row, shown, reach.start)):
                result.older += 1
                result.unjudged.add(key)
                continue
            result.differences.append(
                Difference(key=key, kind=verdict, partition=partition, refolded=shown, logged=row),
            )
        hidden = set()
        for (partition, key), (kind, row) in self._table.impossible.items():
            hidden.add(key)
            result.differences.append(
                Difference(key=key, kind=kind, partition=partition, refolded=refolded(key), logged=row),
            )
        for key, (partition, _, dropped) in self._due.items():
            if key not in self._table.rows and not dropped and key not in hidden:
                row_now = refolded(key)
                result.differences.append(
                    Difference(key=key, kind=Kind.MISSING, partition=partition, refolded=row_now, logged=None),
                )
        coming = {key for key in self._waiting if not (key in self._table.rows or key in self._due or key in hidden)}
        result.not_yet_read += len(coming)
        result.unjudged |= coming
        result.differences.sort(key=lambda difference: (difference.partition, difference.key))
        return result

    def _judge(self, key: str, row: S, reach: Reach) -> Kind | None:
        """In which way a row on the log is wrong; None if it is not, or cannot be judged."""
        if row.position >= reach.end:
            return None
        if key in self._other:
            return Kind.RULES if row.rules != self._rules else Kind.DIFFERENT
        due = self._due.get(key)
        if due is not None and due[1] > row.position:
            left = Kind.LEFT if row.rules == self._rules else Kind.RULES
            return left if due[2] else Kind.BEHIND
        if key in self._equal or row.position < reach.start:
            return None
        return Kind.UNEXPLAINED


def _decided_alike(ours: S, theirs: S) -> bool:
    """Whether two rows differ in nothing but the version of the rules that they name."""
    return ours.rules != theirs.rules and replace(ours, rules=theirs.rules) == theirs


def entry_reaches_back(row: Entry, refolded: Entry | None, start: int) -> bool:
    """Whether an entry knows of requests that stood before an offset.

    The ids that it remembers follow from the requests alone, so where they are others than those of the refold, or in
    another order (one came again), there was a past. The last request's own is left out: whether it is remembered is
    what was decided, and may be what is wrong.
    """
    parts = (row.scale_out, row.scale_in, row.deletion, row.rerun, row.pause, *row.closed)
    if any(part is not None and part.position < start for part in parts):
        return True
    own = row.verdict.request.request_id
    return refolded is not None and _ids(row, own) != _ids(refolded, own)


def _ids(entry: Entry, own: str) -> list[list[str]]:
    remembered = (
        entry.scale_out_ids, entry.scale_in_ids, entry.delete_ids, entry.rerun_ids, entry.pause_ids, entry.resume_ids,
    )  # fmt: skip
    return [[name for name in ids if name != own] for ids in remembered]


def fact_reaches_back(row: Fact, refolded: Fact | None, _start: int) -> bool:
    """Whether a fact knows of a report that the refold does not."""
    if refolded is None:
        return row.outcome.kind in _NEED_A_PAST
    return any(
        getattr(row, name) != getattr(refolded, name) for name in ("episode", "scheduled_at", "started_at", "state")
    )


def calendar_reaches_back(row: CalendarState, _refolded: CalendarState | None, start: int) -> bool:
    """Whether a calendar has peaks that were decided before an offset."""
    return any(peak.position < start for peak in row.peaks)


def _differing(path: str, ours: object, theirs: object) -> Iterator[tuple[str, str, str]]:
    if ours == theirs:
        return
    if type(ours) is type(theirs) and is_dataclass(ours):
        for part in fields(ours):
            name = f"{path}.{part.name}" if path else part.name
            yield from _differing(name, getattr(ours, part.name), getattr(theirs, part.name))
        return
    yield path, str(ours), str(theirs)
