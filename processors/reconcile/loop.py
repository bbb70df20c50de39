"""Converge: look at a target, decide, apply, and report until the facts show it.

Level-triggered: whatever wakes it, it looks at the whole target, or of one with many entries at each part that bears
on what woke it, so a failed or lost step is simply still different at the next look. It decides nothing itself, and it
acts only while the target's partition is ours beyond doubt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog

from peaktime.core.capacity import Profiles
from peaktime.core.plan import Circumstances, Plan
from peaktime.metrics import Metrics
from processors.fold.rows import EntryRows, FactRows
from processors.reconcile.cluster import Cluster
from processors.reconcile.decide import Clock, Decider
from processors.reconcile.manners import Manners
from processors.reconcile.surroundings import Surroundings, Templates
from processors.reconcile.trials import Trials
from processors.reconcile.writes import Writer
from schemas.records import Outcome

log = structlog.get_logger(__name__)

#: A report that was folded and that the facts do not show is sent again after this long (s). One that is not folded yet
#: is never sent again: those who are behind would only fall behind further.
REPORT_AGAIN = 5.0
#: A part of a target with reports that the facts do not show is looked at again after this long (s); the fold wakes us.
_LOOK_AGAIN = 30.0
_NOT_YET = 0.2
#: Seconds of deciding after which all looks rest for as long: otherwise folding would have no turn beside them.
_LONG = 0.02


@dataclass(slots=True)
class _Watched:
    """What the loop remembers of a target between looks; all of it may be lost without harm."""

    partition: int
    looking: bool = False
    again: bool = False
    due: float = 0.0
    timer: asyncio.TimerHandle | None = None
    look_again: datetime | None = None
    reported: dict[str, tuple[float, Callable[[], bool]]] = field(default_factory=dict)


def namespaces_of(profiles: Profiles, default: str) -> dict[str, frozenset[str]]:
    """By target, where its objects are: a namespace that cannot be read stops only those targets that need it."""
    found: dict[str, set[str]] = {}
    for profile in profiles.by_name.values():
        found.setdefault(profile.target, set()).add(profile.namespace or default)
    return {target: frozenset(namespaces) for target, namespaces in found.items()}


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
        configuration: Callable[[str], Mapping[str, str]],
        may_act: Callable[[int], Awaitable[bool]],
        holds: Callable[[int], bool],
        report: Callable[[Outcome], Callable[[], bool]],
        partition_of: Callable[[str], int],
        metrics: Metrics,
        manners: Manners,
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
            configuration: a target's part of the settings in force.
            may_act: whether a partition is ours, rebuilt and read to its end.
            holds: whether a partition is ours at this instant; asked before every write.
            report: sends an outcome; what it returns tells whether it was folded.
            partition_of: the partition of a target.
            metrics: where to count.
            manners: when a write may be sent.
            in_flight: writes at the same time.
            resync: seconds after which a target is looked at whatever happens.
        """
        self._entries, self._cluster = entries, cluster
        self._clock = clock
        self._templates = Templates(cluster, self._news)
        self._trials = Trials(
            cluster=cluster,
            profiles=profiles,
            namespace=circumstances.namespace,
            clock=clock,
            manners=manners,
            changed=self._news,
        )
        self._decider = Decider(
            entries=entries,
            facts=facts,
            profiles=profiles,
            cluster=cluster,
            clock=clock,
            circumstances=circumstances,
            surroundings=Surroundings(
                templates=self._templates,
                configuration=configuration,
                failing=lambda: self._writer.failing,
                refusals=self._trials.messages,
            ),
            partition_of=partition_of,
            resync=resync,
        )
        self._may_act, self._holds, self._report, self._partition_of = may_act, holds, report, partition_of
        self._namespaces = namespaces_of(profiles, circumstances.namespace)
        self._default = frozenset({circumstances.namespace})
        self._metrics, self._resync = metrics, resync
        self._writer = Writer(
            cluster=cluster,
            holds=holds,
            metrics=metrics,
            manners=manners,
            in_flight=in_flight,
        )
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rest_until = 0.0
        self._ended = False

    def forget(self) -> None:
        """Partitions were revoked: what is remembered of targets is void."""
        self._watched.clear()
        self._decider.forget()

    def folded(self, target: str, *, entries: Iterable[str] = (), facts: Iterable[str] = ()) -> None:
        """Something of a target was folded; to be said at once, before anything else is looked at.

        Args:
            target: the target.
            entries: keys of the entries that changed.
            facts: keys of the entries about which facts changed.
        """
        self._decider.folded(target, entries, facts)

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
        watched.looking = True
        task = asyncio.create_task(self._looks(target, watched), name=f"look-{target}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended_look, target, watched))

    def _ended_look(self, target: str, watched: _Watched, task: asyncio.Task[None]) -> None:
        """Say that a look was broken off by an error of ours, and look again later: other targets go on."""
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("a look failed", target=target, again_in=REPORT_AGAIN, exc_info=error)
            self._metrics.looks.labels(result="broken").inc()
            self._decider.anew(target)
            self._wake_in(REPORT_AGAIN, target, watched)

    def wake_due(self) -> None:
        """Look at every target whose time has come; new targets of the cluster and the log too."""
        known = {target for _, target in self._entries.targets()} | self._cluster.targets()
        now, monotonic = self._clock.now(), time.monotonic()
        for target in known:
            watched = self._watched.get(target)
            if not self._holds(watched.partition if watched is not None else self._partition_of(target)):
                continue
            if (
                watched is None
                or watched.due <= monotonic
                or (watched.look_again is not None and watched.look_again <= now)
            ):
                self.wake(target)

    async def stop(self) -> None:
        """End all looks for good; a write under way is cut off, which is safe."""
        self._ended = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self._templates.stop(), self._trials.stop())

    async def _looks(self, target: str, watched: _Watched) -> None:
        try:
            while True:
                watched.again = False
                looked = await self._look(target, watched)
                if not looked or not (watched.again or self._decider.waiting(target)):
                    break
        finally:
            watched.looking = False

    async def _look(self, target: str, watched: _Watched) -> bool:
        """Gather, decide, apply. False if nothing may be done yet; then it wakes itself."""
        while (left := self._rest_until - time.monotonic()) > 0:  # noqa: ASYNC110  (a look meanwhile makes it longer)
            await asyncio.sleep(left)
        if not self._holds(watched.partition):
            # Another worker's, or nobody's while the group is balanced. Should it become ours, the tick sees to it.
            watched.due = 0.0
            return False
        namespaces = self._namespaces.get(target, self._default)
        if not self._cluster.knows(namespaces) or not await self._may_act(watched.partition):
            self._wake_in(_NOT_YET, target, watched)
            return False
        started = time.monotonic()
        look = self._decider.look(target)
        decided_at = time.monotonic()
        if decided_at - started > _LONG:
            self._rest_until = 2 * decided_at - started
        if look is None:
            watched.look_again = self._decider.next_due(target)
            return True
        decided = look.plan
        self._send(decided, watched)
        again = await self._writer.apply(decided, watched.partition)
        self._metrics.look_seconds.observe(time.monotonic() - started)
        self._metrics.looks.labels(result="applied" if again is None else "failed").inc()
        self._decider.looked(target, look, reported_again=_LOOK_AGAIN, again=again)
        watched.look_again = decided.look_again if look.part is None else self._decider.next_due(target)
        if again is None:
            watched.due = time.monotonic() + (REPORT_AGAIN if decided.reports else self._resync)
        else:
            # What failed waits, each object for itself; a change in between is looked at without delay.
            self._wake_in(again, target, watched)
        if look.part is not None:
            # Its round goes on at every tick; others have their turn in between.
            watched.due = 0.0
            await asyncio.sleep(0)
        return True

    def _wake_in(self, seconds: float, target: str, watched: _Watched) -> None:
        """Wake a target later, once: whatever was set before is void."""
        if watched.timer is not None:
            watched.timer.cancel()
        watched.timer = asyncio.get_running_loop().call_later(seconds, self.wake, target)
        watched.due = time.monotonic() + seconds

    def _news(self, target: str) -> None:
        """Something is known of a target's surroundings that was not."""
        self._decider.surroundings_changed(target)
        self.wake(target)

    def _send(self, decided: Plan, watched: _Watched) -> None:
        """Report what the facts do not show, each again only after a while."""
        now = time.monotonic()
        while watched.reported:
            outcome_id, (sent, folded) = next(iter(watched.reported.items()))
            if now - sent < REPORT_AGAIN or not folded():
                break
            del watched.reported[outcome_id]
        for outcome in decided.reports:
            if outcome.outcome_id in watched.reported:
                continue
            watched.reported[outcome.outcome_id] = (now, self._report(outcome))
            self._metrics.outcomes.labels(kind=outcome.kind.lower()).inc()
