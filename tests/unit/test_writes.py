"""The order of writes: what adds before what takes away, and what a refusal holds up."""

import pytest

from peaktime.core.actions import Create, Delete, Plan
from peaktime.core.runs import ENTRY
from peaktime.metrics import Metrics
from processors.reconcile.cluster import RefusedError
from processors.reconcile.manners import Manners
from processors.reconcile.writes import Writer


class Cluster:
    """Takes writes in order, and refuses those of some names, as an API server does with 403 or 422."""

    def __init__(self, refused=()):
        self.done = []
        self.refused = refused

    async def create(self, manifest):
        name = manifest["metadata"]["name"]
        if name in self.refused:
            raise RefusedError(name, "422 no such class", "Mend it")
        self.done.append(f"create {name}")

    async def delete(self, write):
        self.done.append(f"delete {write.name}")


def create(name, entry):
    metadata = {"name": name, "namespace": "n", "annotations": {ENTRY: entry}}
    return Create(manifest={"kind": "CronWorkflow", "metadata": metadata}, reason="wanted")


def delete(name, entry):
    return Delete(name=name, entry=entry, namespace="n", uid="u", resource_version="1", reason="not wanted")


def writer(cluster, holds=lambda _partition: True):
    manners = Manners(qps=100, burst=100)
    return Writer(cluster=cluster, holds=holds, metrics=Metrics(), manners=manners, in_flight=4)


PLAN = Plan(target="t", writes=(create("new", "a"), create("other", "b"), delete("old", "a"), delete("gone", "c")))


async def test_what_adds_comes_before_what_takes_away():
    cluster = Cluster()
    assert await writer(cluster).apply(PLAN, 0) is None
    assert sorted(cluster.done[:2]) == ["create new", "create other"]
    assert sorted(cluster.done[2:]) == ["delete gone", "delete old"]


async def test_the_old_object_of_an_event_stays_while_its_new_one_is_refused_and_others_go_on():
    cluster = Cluster(refused={"new"})
    one = writer(cluster)
    assert await one.apply(PLAN, 0) > 0
    assert sorted(cluster.done) == ["create other", "delete gone"]
    assert one.failing == {"new": "422 no such class"}


async def test_once_it_is_taken_it_fails_no_more():
    cluster = Cluster(refused={"new"})
    one = writer(cluster)
    again = await one.apply(PLAN, 0)
    cluster.refused = ()
    while again is not None:
        again = await one.apply(Plan(target="t", writes=(create("new", "a"), delete("old", "a"))), 0)
    assert one.failing == {}
    assert cluster.done[-2:] == ["create new", "delete old"]


@pytest.mark.parametrize("write", PLAN.writes)
async def test_nothing_is_written_while_the_partition_is_not_ours(write):
    cluster = Cluster()
    assert await writer(cluster, lambda _partition: False).apply(Plan(target="t", writes=(write,)), 0) > 0
    assert cluster.done == []
