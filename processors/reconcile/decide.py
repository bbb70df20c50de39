"""Deciding for a target: gather what is known of it, and ask the core for the plan.

A target of few entries is looked at as a whole each time. One of many is looked at part by part: what changed, what the
clock has made due, and in a slow round everything. Must not: change anything; whoever asks applies the plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from peaktime.core import focus
from peaktime.core.desired import desired
from peaktime.core.focus import Part
from peaktime.core.outcomes import Facts
from peaktime.core.plan import Circumstances, Plan, plan
from peaktime.core.profiles import Profiles
from peaktime.core.requests import Entries
from processors.fold.rows import EntryRows, FactRows
from processors.reconcile.agenda import CHUNK, SETTLE, Agenda
from processors.reconcile.cluster import Cluster
from processors.reconcile.surroundings import Surroundings

#: A target of more entries than this is looked at part by part.
MANY = 200
#: Seconds between two steps of the slow rounds, of all targets together.
_REST = 0.5


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a target.

    Attributes:
        plan: what would be done, and why.
        part: which part of the target it is about; None for the whole.
    """

    plan: Plan
    part: Part | None = None


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
        surroundings: Surroundings,
        partition_of: Callable[[str], int],
        resync: float = 60.0,
        many: int = MANY,
        chunk: int = CHUNK,
        settle: float = SETTLE,
    ) -> None:
        """Wire it.

        Args:
            entries: the entries, by partition and target.
            facts: the facts, likewise.
            profiles: the configuration in force.
            cluster: the cluster's view.
            clock: tells the time.
            circumstances: what plans need to know; its ``now`` is replaced at each look.
            surroundings: what else they need to know of a target.
            partition_of: the partition of a target.
            resync: seconds between two rounds through a target of many entries, at least.
            many: from how many entries on a target is looked at part by part.
            chunk: how many of them in one look.
            settle: seconds after a change in the coming days that what belongs to no entry is looked at.
        """
        self._entries, self._facts, self._profiles, self._cluster = entries, facts, profiles, cluster
        self._clock, self._circumstances, self._partition_of = clock, circumstances, partition_of
        self._surroundings, self._rested_at = surroundings, 0.0
        self._many, self._new = many, partial(Agenda, resync=resync, chunk=chunk, settle=settle)
        self._agendas: dict[str, Agenda] = {}

    def forget(self) -> None:
        """Partitions were revoked: what is remembered of targets is void."""
        self._agendas.clear()

    def anew(self, target: str) -> None:
        """What is remembered of a target is void: a look at it was broken off."""
        self._agendas.pop(target, None)

    def folded(self, target: str, entries: Iterable[str], facts: Iterable[str]) -> None:
        """Something of a target was folded; to be said at once, before anything else is looked at.

        Args:
            target: the target.
            entries: keys of the entries that changed.
            facts: keys of the entries about which facts changed.
        """
        agenda = self._agendas.get(target)
        if agenda is not None:
            agenda.changed(entries, self._entries.get(self._partition_of(target), target).position)
            agenda.want(facts)

    def surroundings_changed(self, target: str) -> None:
        """Something is known of a target's surroundings that was not."""
        agenda, ready_before = self._agendas.get(target), self._circumstances.ready_before
        if agenda is not None:
            now = self._clock.now()
            agenda.wide = True
            agenda.want(agenda.parts.around(now, now + (ready_before or timedelta())))

    def decide(self, target: str) -> Plan:
        """The plan for a target as everything stands now."""
        entries, facts = self._of(target)
        at = replace(self._circumstances, now=self._clock.now())
        want = desired(target, entries, facts, self._profiles, at.now, grace=at.grace)
        at, templates = self._surroundings.around(want, at)
        seen = replace(self._cluster.observed(target, want.runs), templates=templates)
        return plan(want, seen, entries, facts, self._profiles, at)

    def look(self, target: str) -> Look | None:
        """The next look at a target; None if nothing of it is to be looked at now."""
        entries, facts = self._of(target)
        if len(entries.by_key) < self._many:
            self._agendas.pop(target, None)
            self._cluster.view.changes(target)
            return Look(plan=self.decide(target))
        changes = self._cluster.view.changes(target)
        agenda = self._agendas.get(target)
        if agenda is None:
            agenda, changes = self._new(entries), set()
            self._agendas[target] = agenda
        if None in changes:
            agenda.everything(entries)
        agenda.want(key for key in changes if key is not None)
        at, monotonic = replace(self._circumstances, now=self._clock.now()), time.monotonic()
        rested = monotonic - self._rested_at >= _REST
        left = agenda.left
        keys = agenda.take(entries, at, monotonic, rested=rested)
        if keys is None:
            return None
        if agenda.left != left:
            self._rested_at = monotonic
        return self._part(target, agenda, keys, entries, facts, at)

    def looked(self, target: str, look: Look, *, reported_again: float, again: float | None) -> None:
        """What became of a look.

        Args:
            target: the target.
            look: the look.
            reported_again: seconds after which reports that the facts do not show by then are owed once more.
            again: seconds after which to look again because something is not done; None if all is.
        """
        agenda = self._agendas.get(target)
        if agenda is None or look.part is None:
            return
        pauses = [reported_again] if look.plan.reports else []
        pauses += [again] if again is not None else []
        if pauses:
            agenda.want_later(look.part.keys, time.monotonic() + min(pauses))

    def waiting(self, target: str) -> bool:
        """Whether more of a target is to be looked at right away."""
        agenda = self._agendas.get(target)
        return agenda is not None and agenda.waiting()

    def next_due(self, target: str) -> datetime | None:
        """When a target that is looked at part by part is due by the clock (UTC); None for never."""
        agenda = self._agendas.get(target)
        return None if agenda is None else agenda.next_due()

    def _of(self, target: str) -> tuple[Entries, Facts]:
        partition = self._partition_of(target)
        return self._entries.get(partition, target), self._facts.get(partition, target)

    def _part(
        self,
        target: str,
        agenda: Agenda,
        keys: set[str],
        entries: Entries,
        facts: Facts,
        at: Circumstances,
    ) -> Look:
        """Look at some entries, together with the present if they bear on it."""
        view = self._cluster.view
        notable = view.notable(target)
        present = focus.present(target, agenda.parts, agenda.reruns, entries, facts, notable, at.now)
        if not keys or any(key not in entries.by_key for key in keys):
            gone = (facts.entries() | view.entries(target)) - entries.by_key.keys() - {""}
            keys = keys | present | focus.coming(agenda.parts, at) | agenda.common | gone
            # What names no entry is looked at with those that are gone.
            part = Part(keys=keys | {""}, present=True, wide=True)
        elif present.isdisjoint(keys):
            part = Part(keys=keys)
        else:
            part = Part(keys=keys | present, present=True)
        own_entries = focus.entries_of(part, entries, agenda.common)
        own_facts = focus.facts_of(part, facts, notable)
        want = desired(target, own_entries, own_facts, self._profiles, at.now, grace=at.grace)
        at, templates = self._surroundings.around(want, at)
        seen = replace(view.part(target, part.keys, want.runs, present=part.present), templates=templates)
        own = focus.circumstances_of(part, at)
        decided = plan(want, seen, own_entries, own_facts, self._profiles, own)
        decided, loose = focus.of_part(decided, part)
        agenda.looked(part.keys, decided.look_again, at.now, wide=part.wide)
        agenda.wide |= loose
        return Look(plan=decided, part=part)
