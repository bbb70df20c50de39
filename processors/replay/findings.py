"""What a replay is asked for, what it reads from, and what it finds. Pure data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from processors.replay.compare import Result
from processors.replay.log import Offsets, Raw, Span
from processors.replay.notices import NoticeResult
from processors.replay.objects import ClusterResult
from processors.replay.refold import Accounts
from schemas.records import Entry, Fact


class Log(Protocol):
    """What a session asks of Kafka; ``processors.replay.reader.LogReader`` is one."""

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""

    def spans(
        self,
        topics: Iterable[str],
        *,
        partitions: Iterable[int] | None = None,
        since: datetime | None = None,
    ) -> list[Span]:
        """What there is to read now."""

    def committed(self, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """How far a group has read."""

    def read(self, spans: Iterable[Span], progress: Callable[[int], None] | None = None) -> Iterable[Raw]:
        """Every record of the spans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Consumer group ids: of the folds, of announce, of the Slack sink."""

    fold: str
    announce: str
    sink: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is asked for.

    Attributes:
        target: only this one; None for all.
        since: begin at this log time; None for the beginning.
        until: fold nothing of a later log time, or nothing from these offsets on; None for all.
        notices: whether notifications and deliveries are compared too.
        compare: whether the tables are compared at all.
        zone: IANA zone of words.
    """

    target: str | None = None
    since: datetime | None = None
    until: datetime | Offsets | None = None
    notices: bool = False
    compare: bool = True
    zone: str = "Asia/Seoul"


@dataclass(slots=True)
class Report:
    """What a session found.

    Attributes:
        accounts: where every request went (invariant I6).
        records: how many records were read, by full topic name.
        tables: the comparisons, by the table's short name.
        notices: notifications and deliveries, if they were compared.
        letters_missing: places of records that cannot be read, or are misplaced twice, without a dead letter.
        forwards_missing: places of misplaced records without a copy at the right place.
        unreadable: places of rows, notifications or deliveries of ours that cannot be read.
        trimmed: the full names of topics whose beginning is gone, with the first log time that is still there.
        entries: the entries at the end.
        facts: the facts at the end.
        behind: targets of which the worker has not surely folded all that was read.
        cluster: the comparison with the cluster, if it was asked for.
        cluster_left_out: why it was asked for and not done; empty if it was done.
    """

    accounts: Accounts = field(default_factory=Accounts)
    records: dict[str, int] = field(default_factory=dict)
    tables: dict[str, Result] = field(default_factory=dict)
    notices: NoticeResult | None = None
    letters_missing: list[str] = field(default_factory=list)
    forwards_missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    trimmed: dict[str, datetime | None] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    cluster: ClusterResult | None = None
    cluster_left_out: str = ""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return (
            self.accounts.balanced
            and all(result.same for result in self.tables.values())
            and (self.notices is None or self.notices.same)
            and (self.cluster is None or self.cluster.same)
            and not (self.letters_missing or self.forwards_missing or self.unreadable)
        )
