"""Says that a holiday calendar has gone without a good feed for too long, once a day.

For: the worker that owns the calendar's partition. The fact belongs to the calendar's target, whose owner may be
another worker: then the report is repeated now and then, which changes nothing. It must not decide when one is stale.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from peaktime.core.staleness import stale_report
from peaktime.metrics import Metrics
from processors.fold.rows import CalendarRows, FactRows
from processors.reconcile.decide import Clock
from schemas.records import Outcome

log = structlog.get_logger(__name__)

#: A report that the facts do not show, or that somebody else folds, is sent again after this long (s).
REPORT_AGAIN = 600.0


class StaleCalendars:
    """Looks at every calendar of this worker."""

    def __init__(
        self,
        *,
        calendars: CalendarRows,
        facts: FactRows,
        clock: Clock,
        zone: str,
        may_report: Callable[[int], Awaitable[bool]],
        report: Callable[[Outcome], object],
        partition_of: Callable[[str], int],
        metrics: Metrics,
        reporter: str,
    ) -> None:
        """Wire it.

        Args:
            calendars: the calendar states, by partition.
            facts: the facts of the targets that this worker owns.
            clock: tells the time.
            zone: zone of the day that a report is for.
            may_report: whether a partition is ours, and its snapshots are read to their end.
            report: sends an outcome.
            partition_of: the partition of a target.
            metrics: where to count.
            reporter: who this worker is.
        """
        self._calendars, self._facts, self._clock, self._zone = calendars, facts, clock, zone
        self._may_report, self._report, self._partition_of = may_report, report, partition_of
        self._metrics, self._reporter = metrics, reporter
        self._reported: dict[str, tuple[str, float]] = {}

    def forget(self) -> None:
        """Partitions were revoked: what was sent may be somebody else's affair now, or lost."""
        self._reported.clear()

    async def look(self) -> None:
        """Report each calendar that is stale and not known to be told today."""
        for partition, calendar_id in self._calendars.ids():
            if self._owed(partition, calendar_id) is None or not await self._may_report(partition):
                continue
            # A snapshot may have been folded while that was found out.
            outcome = self._owed(partition, calendar_id)
            if outcome is None:
                continue
            self._reported[calendar_id] = (outcome.subject, time.monotonic())
            self._report(outcome)
            self._metrics.outcomes.labels(kind=outcome.kind.lower()).inc()
            log.warning("a calendar is stale", calendar=calendar_id, reason=outcome.message)

    def _owed(self, partition: int, calendar_id: str) -> Outcome | None:
        state = self._calendars.get(partition, calendar_id)
        if state is None:
            return None
        outcome = stale_report(state, self._clock.now(), self._zone, reporter=self._reporter)
        if outcome is None:
            return None
        subject, sent = self._reported.get(calendar_id, ("", 0.0))
        if subject == outcome.subject and time.monotonic() - sent < REPORT_AGAIN:
            return None
        known = self._facts.get(self._partition_of(outcome.target), outcome.target)
        return None if outcome.subject in known.by_subject else outcome
