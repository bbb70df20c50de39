"""Converge: look at a target, decide, apply, and report until the facts show it.

Level-triggered: whatever wakes it, it looks at the whole target, so a failed or lost step is simply still different at
the next look. It decides nothing itself, and it acts only while the target's partition is ours beyond doubt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import structlog

from peaktime.core.capacity import Profiles
from peaktime.core.desired import desired
from peaktime.core.plan import Apply, Circumstances, Create, Delete, Plan, Start, Write, plan
from peaktime.errors import ClusterError
from peaktime.metrics import Metrics
from processors.fold.rows import EntryRows, FactRows
from processors.reconcile.cluster import Cluster, ConflictError
from schemas.records import Outcome

log = structlog.get_logger(__name__)

#: A report that the facts do not show yet is sent again after this long (s).
REPORT_AGAIN = 5.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_NOT_YET = 0.2


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""


@dataclass(slots=True)
class _Watched:
    """What the loop remembers of a target between looks; all of it may be lost without harm."""

    partition: int
    looking: bool = False
    again: bool = False
    due: float = 0.0
    failures: int = 0
    look_again: datetime | None = None
    reported: dict[str, float] = field(default_factory=dict)


class Loop:
    """The reconcile loop over all targets of this worker."""

    def __init__(
        self,
        *,
        entries: EntryRows,
        facts: FactRows,
        profiles: Profiles,
        cluster: Cluster,
        clock: Clock,
        circumstances: Circumstances,
        may_act: Callable[[int], Awaitable[bool]],
        holds: Callable[[int], bool],
        report: Callable[[Outcome], None],
        partition_of: Callable[[str], int],
        metrics: Metrics,
        in_flight: int,
        resync: float,
    ) -> None:
        """Wire the loop.

        Args:
            entries: the entries, by partition and target.
            facts: the facts, likewise.
            profiles: the configuration in force.
            cluster: the cluster.
            clock: tells the time.
            circumstances: what plans need to know; its ``now`` is replaced at each look.
            may_act: whether a partition is ours, rebuilt and read to its end.
            holds: whether a partition is ours at this instant; asked before every write.
            report: sends an outcome.
            partition_of: the partition of a target.
            metrics: where to count.
            in_flight: writes at the same time.
            resync: seconds after which a target is looked at whatever happens.
        """
        self._entries, self._facts, self._profiles, self._cluster = entries, facts, profiles, cluster
        self._clock, self._circumstances = clock, circumstances
        self._may_act, self._holds, self._report, self._partition_of = may_act, holds, report, partition_of
        self._metrics, self._resync = metrics, resync
        self._writing = asyncio.Semaphore(in_flight)
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    def forget(self) -> None:
        """Partitions were revoked: what is remembered of targets is void."""
        self._watched.clear()

    def wake(self, target: str) -> None:
        """Look at a target now; if it is being looked at, once more afterwards."""
        if self._ended:
            return
        watched = self._watched.get(target)
        if watched is None:
            watched = self._watched[target] = _Watched(self._partition_of(target))
        if watched.looking:
            watched.again = True
            return
        if watched.failures and time.monotonic() < watched.due:
            return
        watched.looking = True
        task = asyncio.create_task(self._looks(target, watched), name=f"look-{target}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake_due(self) -> None:
        """Look at every target whose time has come; new targets of the cluster and the log too."""
        known = {target for _, target in self._entries.targets()} | self._cluster.targets()
        now, monotonic = self._clock.now(), time.monotonic()
        for target in known:
            watched = self._watched.get(target)
            if (
                watched is None
                or watched.due <= monotonic
                or (watched.look_again is not None and watched.look_again <= now)
            ):
                if watched is not None and watched.failures and watched.due > monotonic:
                    continue
                self.wake(target)

    async def stop(self) -> None:
        """End all looks for good; a write under way is cut off, which is safe."""
        self._ended = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _looks(self, target: str, watched: _Watched) -> None:
        try:
            while True:
                watched.again = False
                fine = await self._look(target, watched)
                if not (watched.again and fine):
                    break
        finally:
            watched.looking = False

    async def _look(self, target: str, watched: _Watched) -> bool:
        """Gather, decide, apply. False if it is to be tried again later."""
        if not self._cluster.synced or not await self._may_act(watched.partition):
            watched.due = time.monotonic() + _NOT_YET
            asyncio.get_running_loop().call_later(_NOT_YET, self.wake, target)
            return False
        started = time.monotonic()
        decided = self.decide(target)
        self._send(decided, watched)
        fine = await self._apply(decided, watched.partition)
        self._metrics.look_seconds.observe(time.monotonic() - started)
        self._metrics.looks.labels(result="applied" if fine else "failed").inc()
        watched.look_again = decided.look_again
        if fine:
            watched.failures = 0
            pause = REPORT_AGAIN if decided.reports else self._resync
        else:
            watched.failures += 1
            pause = min(_FIRST_BACKOFF * 2 ** min(watched.failures - 1, 10), _LONGEST_BACKOFF)
            asyncio.get_running_loop().call_later(pause, self.wake, target)
        watched.due = time.monotonic() + pause
        return fine

    def decide(self, target: str) -> Plan:
        """What would be done for a target now, and why. Pure but for reading the rows, the view and the clock."""
        partition = self._partition_of(target)
        entries, facts = self._entries.get(partition, target), self._facts.get(partition, target)
        now = self._clock.now()
        circumstances = replace(self._circumstances, now=now)
        want = desired(target, entries, facts, self._profiles, now, grace=circumstances.grace)
        seen = self._cluster.observed(target, want.runs)
        return plan(want, seen, entries, facts, self._profiles, circumstances)

    def _send(self, decided: Plan, watched: _Watched) -> None:
        """Report what the facts do not show, each again only after a while."""
        now = time.monotonic()
        owed = {outcome.outcome_id for outcome in decided.reports}
        watched.reported = {i: t for i, t in watched.reported.items() if i in owed}
        for outcome in decided.reports:
            if now - watched.reported.get(outcome.outcome_id, -REPORT_AGAIN) < REPORT_AGAIN:
                continue
            watched.reported[outcome.outcome_id] = now
            self._report(outcome)
            self._metrics.outcomes.labels(kind=outcome.kind.lower()).inc()

    async def _apply(self, decided: Plan, partition: int) -> bool:
        """Do the writes: all that adds before any that takes away, those of one sort side by side."""
        adds = [write for write in decided.writes if not isinstance(write, Delete)]
        takes = [write for write in decided.writes if isinstance(write, Delete)]
        for writes in (adds, takes):
            results = await asyncio.gather(*(self._write(write, partition) for write in writes))
            if not all(results):
                return False
        return True

    async def _write(self, write: Write, partition: int) -> bool:
        verb = type(write).__name__.lower()
        name = write.name if isinstance(write, Delete) else write.manifest["metadata"]["name"]
        async with self._writing:
            if not self._holds(partition):
                return False
            started = time.monotonic()
            try:
                match write:
                    case Create(manifest=manifest) | Start(manifest=manifest):
                        await self._cluster.create(manifest)
                    case Apply(manifest=manifest):
                        await self._cluster.apply(manifest)
                    case Delete():
                        await self._cluster.delete(write)
            except ConflictError as error:
                log.info("the cluster has moved on", verb=verb, name=name, reason=str(error))
                self._metrics.cluster_writes.labels(verb=verb, result="conflict").inc()
                return False
            except ClusterError as error:
                log.warning("a write failed", verb=verb, name=name, error=str(error))
                self._metrics.cluster_writes.labels(verb=verb, result="error").inc()
                return False
        self._metrics.cluster_writes.labels(verb=verb, result="done").inc()
        self._metrics.cluster_write_seconds.labels(verb=verb).observe(time.monotonic() - started)
        log.info("applied", verb=verb, name=name, reason=write.reason)
        return True
