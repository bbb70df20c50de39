"""Trying profiles before they are needed: once, in the background, and again only where there is a reason."""

import asyncio
from datetime import UTC, datetime

import pytest
from support.asking import LEVELS, profiles

from peaktime.errors import ClusterError
from processors.reconcile import trials as module
from processors.reconcile.manners import Manners
from processors.reconcile.trials import Trials


class Clock:
    def now(self):
        return datetime(2026, 5, 4, tzinfo=UTC)


class Cluster:
    def __init__(self):
        self.tried = []
        self.refuses = lambda _manifest: None
        self.away = False
        self.calls = asyncio.Semaphore(0)

    async def trial(self, manifest):
        self.tried.append(manifest)
        self.calls.release()
        if self.away:
            raise ClusterError("it", "is away")
        return self.refuses(manifest)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "_PACE", 0.0)
    monkeypatch.setattr(module, "_FIRST_BACKOFF", 0.01)


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
async def told(cluster):
    """What is told of which target, and the trials."""
    queue = asyncio.Queue()
    made = Trials(
        cluster=cluster,
        profiles=profiles(),
        namespace="peaktime",
        clock=Clock(),
        manners=Manners(qps=1000, burst=1000),
        changed=queue.put_nowait,
        again=0.01,
    )
    yield made, queue
    await made.stop()


async def settled(made):
    while made._tasks:
        await asyncio.gather(*made._tasks)


def by_night(manifest):
    night = manifest["metadata"]["labels"]["peaktime.io/band"] == "night"
    return f"{manifest['metadata']['name']} is not wanted" if night and manifest["kind"] == "Workflow" else None


async def test_every_profile_of_a_target_is_tried_both_ways_as_both_kinds_and_only_once(told, cluster):
    made, queue = told
    assert made.refusals("infra") == ()
    await settled(made)
    assert made.refusals("infra") == ()
    await settled(made)
    kinds = [
        (m["kind"], m["metadata"]["labels"]["peaktime.io/band"], m["metadata"]["labels"]["peaktime.io/action"])
        for m in cluster.tried
    ]
    assert len(kinds) == len(set(kinds)) == len(LEVELS) * 4
    assert queue.empty()


async def test_a_target_without_profiles_needs_no_trial(told, cluster):
    made, _ = told
    assert made.refusals("elsewhere") == ()
    await settled(made)
    assert cluster.tried == []


async def test_a_refusal_is_told_and_tried_again_until_it_is_gone(told, cluster):
    made, queue = told
    cluster.refuses = by_night
    made.refusals("infra")
    assert await asyncio.wait_for(queue.get(), 5) == "infra"
    assert made.messages("infra") == {
        "infra-common-night scale-out": "Workflow: it is not wanted",
        "infra-common-night scale-in": "Workflow: it is not wanted",
    }
    cluster.refuses = lambda _manifest: None
    assert await asyncio.wait_for(queue.get(), 5) == "infra"
    assert made.messages("infra") == {}


async def test_what_cannot_be_known_is_no_refusal_and_is_tried_again(told, cluster):
    made, queue = told
    cluster.away = True
    made.refusals("infra")
    for _ in range(3):
        await asyncio.wait_for(cluster.calls.acquire(), 5)
    assert made.refusals("infra") == ()
    assert queue.empty()
    cluster.away, cluster.refuses = False, by_night
    assert await asyncio.wait_for(queue.get(), 5) == "infra"


async def test_what_was_refused_stays_refused_while_nothing_can_be_known(told, cluster):
    made, queue = told
    cluster.refuses = by_night
    made.refusals("infra")
    await asyncio.wait_for(queue.get(), 5)
    cluster.away = True
    for _ in range(len(cluster.tried) + 3):
        await asyncio.wait_for(cluster.calls.acquire(), 5)
    assert made.refusals("infra") != ()
    assert queue.empty()
