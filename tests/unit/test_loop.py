"""The reconcile loop on a cluster of dictionaries: what it looks at, and when it reports again."""

import asyncio
import copy
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs
from support.asking import Log, at, profile, profiles, scale_in, scale_out

from peaktime.core.actions import Circumstances
from peaktime.core.outcomes import Facts
from peaktime.metrics import Metrics
from processors.reconcile import loop as loops
from processors.reconcile.cluster import View
from processors.reconcile.decide import MANY
from processors.reconcile.loop import Loop, namespaces_of
from processors.reconcile.manners import Manners


class Cluster:
    """A cluster that takes everything."""

    def __init__(self):
        self.view, self.writes, self.version = View(), [], 0
        self.unreadable = set()
        self.observed, self.targets = self.view.observed, self.view.targets

    async def create(self, manifest):
        self.version += 1
        self.writes.append(manifest["metadata"]["name"])
        stored = copy.deepcopy(manifest)
        stored["metadata"] |= {"resourceVersion": str(self.version), "uid": str(self.version)}
        self.view.put(stored)

    async def delete(self, write):
        self.writes.append(f"-{write.name}")
        self.view.drop(("CronWorkflow", write.namespace, write.name))

    async def trial(self, _manifest):
        return None

    def knows(self, namespaces):
        return self.unreadable.isdisjoint(namespaces)


class World:
    def __init__(self):
        self.log, self.facts, self.cluster = Log(), Facts(), Cluster()
        self.reports, self.folded, self.held = [], False, True
        self.loop = Loop(
            entries=SimpleNamespace(get=lambda *_: self.log.entries, targets=lambda: [(0, "infra")]),
            facts=SimpleNamespace(get=lambda *_: self.facts),
            profiles=profiles(),
            cluster=self.cluster,
            clock=SimpleNamespace(now=lambda: at(0)),
            circumstances=Circumstances(now=at(0), grace=timedelta(seconds=60), namespace="peaktime"),
            configuration=lambda _target: {},
            may_act=self.may_act,
            holds=lambda _partition: self.held,
            report=self.report,
            partition_of=lambda _target: 0,
            metrics=Metrics(),
            manners=Manners(qps=1e6, burst=1_000_000),
            in_flight=8,
            resync=60.0,
        )

    async def may_act(self, _partition):
        return True

    def report(self, outcome):
        self.reports.append(outcome)
        return lambda: self.folded

    def ask(self, *requests):
        for request in requests:
            self.log.append(request)
            self.loop.folded("infra", entries=self.log.changes)
            self.loop.wake("infra")

    def fold_reports(self):
        for position, outcome in enumerate(self.reports):
            changes = self.facts.fold(outcome, position, at(0))
            self.loop.folded("infra", facts={fact.outcome.entry for fact in changes.values()})
        self.loop.wake("infra")

    async def rest(self):
        """Let it do all that it wants to do now."""
        while self.loop._tasks:
            await asyncio.gather(*self.loop._tasks)
            await asyncio.sleep(0)


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.loop.stop()


async def test_a_report_that_is_not_folded_yet_is_not_sent_again(world, monkeypatch):
    monkeypatch.setattr(loops, "REPORT_AGAIN", 0.0)
    world.ask(scale_out("a", 60, 90))
    await world.rest()
    world.loop.wake("infra")
    await world.rest()
    assert [report.kind for report in world.reports] == ["SCHEDULED"]
    for _ in range(3):
        world.loop.wake("infra")
        await world.rest()
    assert len(world.reports) == 1
    world.folded = True
    world.loop.wake("infra")
    await world.rest()
    assert len(world.reports) == 2, "folded, and the facts do not show it: it was lost on the way"


async def test_a_target_of_many_entries_comes_to_rest_and_a_change_touches_nothing_else(world):
    for number in range(MANY):
        start, date = 1440 * (number + 1), f"2026-{1 + number // 28:02}-{1 + number % 28:02}"
        world.ask(scale_out(f"a{number}", start, start + 60, date=date), scale_in(f"b{number}", start + 60, date=date))
    await world.rest()
    world.loop.wake("infra")
    await world.rest()
    assert len(world.cluster.writes) == 2 * MANY == len(set(world.cluster.writes))
    assert len(world.reports) == 2 * MANY
    world.fold_reports()
    await world.rest()
    world.cluster.writes.clear()
    world.reports.clear()
    world.ask(scale_out("c", 1440 * 50 + 600, 1440 * 50 + 645, date="2026-12-24"))
    await world.rest()
    assert world.cluster.writes == ["peaktime-create-infra-common-common-20261224"]
    world.loop.wake_due()
    await world.rest()
    assert [report.entry for report in world.reports] == ["infra/pa/2026-12-24"]
    world.loop.forget()
    world.loop.wake("infra")
    await world.rest()
    assert len(world.cluster.writes) == 1


async def test_another_workers_target_is_not_looked_at_over_and_over(world):
    """Its objects are in the view, so the tick knows of it."""
    asked = []

    async def may_act(partition):
        asked.append(partition)
        return True

    world.held = False
    world.loop._may_act = may_act
    world.loop.wake("infra")
    await world.rest()
    for _ in range(3):
        world.loop.wake_due()
    assert asked == []
    assert not world.loop._tasks
    assert world.loop._watched["infra"].timer is None, "it wakes itself for nothing"
    world.held = True
    world.loop.wake_due()
    await world.rest()
    assert asked == [0]


async def test_a_look_that_breaks_off_is_told_and_tried_again_later(world, monkeypatch):
    monkeypatch.setattr(loops, "REPORT_AGAIN", 60.0)
    decide, failures = world.loop._decider.look, [ZeroDivisionError("odd")]

    def breaks(target):
        if failures:
            raise failures.pop()
        return decide(target)

    monkeypatch.setattr(world.loop._decider, "look", breaks)
    with capture_logs() as logs:
        world.ask(scale_out("a", 60, 90))
        with pytest.raises(ZeroDivisionError):
            await world.rest()
    assert [(entry["event"], entry["target"]) for entry in logs] == [("a look failed", "infra")]
    world.loop.wake_due()
    assert not world.loop._tasks, "not at once"
    world.loop._watched["infra"].due = 0.0
    world.loop.wake_due()
    await world.rest()
    assert world.cluster.writes


async def test_looks_that_take_long_leave_folding_its_turn(world, monkeypatch):
    """A target whose hundreds of windows all overlap takes a tenth of a second, and each record asks for a look."""
    decide, seconds, looks = world.loop._decider.look, 0.03, 0

    def slow(target):
        nonlocal looks
        looks += 1
        time.sleep(seconds)  # stands for computing: it must hold up the event loop, as a long look does
        return decide(target)

    monkeypatch.setattr(world.loop._decider, "look", slow)
    turns = 0
    world.ask(scale_out("a", 60, 90))
    while looks < 5:
        world.loop.wake("infra")
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50, "one turn for each look, or hardly more: looks take all the time there is"


async def test_a_namespace_that_cannot_be_read_stops_only_the_targets_that_need_it(world):
    world.cluster.unreadable = {"somebody-elses"}
    world.ask(scale_out("a", 60, 90))
    await world.rest()
    assert world.cluster.writes
    world.cluster.unreadable = {"peaktime"}
    world.ask(scale_out("b", 160, 190, date="2026-05-05"))
    await world.rest()
    assert len(world.cluster.writes) == 1


def test_a_targets_namespaces_are_those_of_its_profiles():
    there = profile("dawn", 4, namespace="apps")
    assert namespaces_of(profiles(there), "peaktime") == {"infra": {"apps", "peaktime"}}
