"""How the driver commits and seeks back: each commit covers what was handled, and nothing flows in a rebalance."""

import asyncio
from types import SimpleNamespace

import pytest
from faust.types import TP

from processors.driver import Progress, _Consumer

PLACE = TP("requests", 0)


class Consumer(_Consumer):
    """The consumer without Kafka: a commit takes as long as the test wants, and a seek is noted."""

    def __init__(self):
        self.app = SimpleNamespace(progress=Progress(), rebalancing_count=0, client_only=False, patience=5.0)
        self.can_resume_flow, self.suspend_flow = asyncio.Event(), asyncio.Event()
        self.flow_active, self._draining = True, False
        self._parked, self._seeking = asyncio.Event(), asyncio.Lock()
        self._commit_fut, self._committed_offset = None, {PLACE: None}
        self.broker = asyncio.Event()
        self.done = []

    @property
    def loop(self):
        return asyncio.get_running_loop()

    def handle(self, offset):
        self.app.progress.delivered(PLACE, offset)
        self.app.progress.handled(PLACE, offset)

    async def force_commit(self, *_topics, **_options):
        reached = self.app.progress.committable()
        await self.broker.wait()
        self._committed_offset.update(reached)
        self.done.append(("committed", reached.get(PLACE)))
        return True

    async def _seek_to_committed(self):
        self.done.append(("sought", self._committed_offset[PLACE]))
        self.app.progress.clear()


@pytest.fixture
async def consumer():
    return Consumer()


async def test_a_commit_covers_what_was_handled_while_an_earlier_one_went_on(consumer):
    consumer.handle(0)
    first = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    consumer.handle(1)
    second = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    consumer.broker.set()
    await asyncio.gather(first, second)
    assert consumer.done == [("committed", 1), ("committed", 2)]


async def test_a_seek_commits_first_even_what_is_handled_while_it_does(consumer):
    consumer.handle(0)
    seek = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    consumer.handle(1)
    consumer.broker.set()
    await seek
    assert consumer.done == [("committed", 1), ("committed", 2), ("sought", 2)]
    assert consumer.flow_active


async def test_whoever_is_out_of_patience_leaves_a_commit_that_goes_on_alone(consumer):
    consumer.app.patience = 0.05
    consumer.handle(0)
    periodic = asyncio.create_task(consumer.commit())
    await asyncio.sleep(0)
    await consumer.perform_seek()
    assert consumer.done == [("sought", None)]
    consumer.broker.set()
    assert await periodic
    assert consumer.done[1][0] == "committed"


async def test_a_seek_without_anything_handled_commits_nothing(consumer):
    await consumer.perform_seek()
    assert consumer.done == [("sought", None)]


async def test_a_refused_commit_is_no_reason_to_try_for_ever(consumer):
    async def refused(*_topics, **_options):
        return False

    consumer.force_commit = refused
    consumer.handle(0)
    await consumer.perform_seek()
    assert consumer.done == [("sought", None)], "what was handled comes again"


async def test_nothing_flows_while_it_seeks(consumer):
    consumer.handle(0)
    seek = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    assert not consumer.flow_active
    consumer.broker.set()
    await seek
    assert consumer.flow_active


async def test_a_rebalance_that_begins_meanwhile_decides_when_records_flow_again(consumer):
    consumer.handle(0)
    seek = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    consumer.app.rebalancing_count += 1
    consumer.broker.set()
    await seek
    assert not consumer.flow_active


async def test_seeks_wait_for_one_another(consumer):
    consumer.handle(0)
    first = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    second = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    assert consumer.done == []
    consumer.broker.set()
    await asyncio.gather(first, second)
    assert consumer.done == [("committed", 1), ("sought", 1), ("sought", 1)]
