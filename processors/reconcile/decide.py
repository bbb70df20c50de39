"""Deciding for a target: gather what is known of it, and ask the core for the plan.

Must not: change anything; whoever asks applies the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from peaktime.core.desired import desired
from peaktime.core.plan import Circumstances, Plan, plan
from peaktime.core.profiles import Profiles
from processors.fold.rows import EntryRows, FactRows
from processors.reconcile.cluster import Cluster


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""


class Decider:
    """What would be done for a target now, and why."""

    def __init__(
        self,
        *,
        entries: EntryRows,
        facts: FactRows,
        profiles: Profiles,
        cluster: Cluster,
        clock: Clock,
        circumstances: Circumstances,
        partition_of: Callable[[str], int],
    ) -> None:
        """Wire it.

        Args:
            entries: the entries, by partition and target.
            facts: the facts, likewise.
            profiles: the configuration in force.
            cluster: the cluster's view.
            clock: tells the time.
            circumstances: what plans need to know; its ``now`` is replaced at each look.
            partition_of: the partition of a target.
        """
        self._entries, self._facts, self._profiles, self._cluster = entries, facts, profiles, cluster
        self._clock, self._circumstances, self._partition_of = clock, circumstances, partition_of

    def decide(self, target: str) -> Plan:
        """The plan for a target as everything stands now."""
        partition = self._partition_of(target)
        entries, facts = self._entries.get(partition, target), self._facts.get(partition, target)
        now = self._clock.now()
        circumstances = replace(self._circumstances, now=now)
        want = desired(target, entries, facts, self._profiles, now, grace=circumstances.grace)
        seen = self._cluster.observed(target, want.runs)
        return plan(want, seen, entries, facts, self._profiles, circumstances)
