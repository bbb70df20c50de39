"""Converge: look at a target, decide, apply, and report until the facts show it.

Level-triggered: whatever wakes it, it looks at the whole target, so a failed or lost step is simply still different at
the next look. It decides nothing itself, and it acts only while the target's partition is ours beyond doubt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from peaktime.core.capacity import Profiles
from peaktime.core.plan import Circumstances, Plan
from peaktime.metrics import Metrics
from processors.fold.rows import EntryRows, FactRows
from processors.reconcile.cluster import Cluster
from processors.reconcile.decide import Clock, Decider
from processors.reconcile.writes import Writer
from schemas.records import Outcome

log = structlog.get_logger(__name__)

#: A report that the facts do not show yet is sent again after this long (s).
REPORT_AGAIN = 5.0
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0
_NOT_YET = 0.2


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
        self._entries, self._cluster = entries, cluster
        self._clock = clock
        self._decider = Decider(
            entries=entries,
            facts=facts,
            profiles=profiles,
            cluster=cluster,
            clock=clock,
            circumstances=circumstances,
            partition_of=partition_of,
        )
        self._may_act, self._report, self._partition_of = may_act, report, partition_of
        self._metrics, self._resync = metrics, resync
        self._writer = Writer(cluster=cluster, holds=holds, metrics=metrics, in_flight=in_flight)
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
        decided = self._decider.decide(target)
        self._send(decided, watched)
        fine = await self._writer.apply(decided, watched.partition)
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
