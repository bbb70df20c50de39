"""When a worker may act on a partition, and when it must not although it might think so."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from processors.driver import App, Ownership, Progress

PLACE = TP("requests", 0)


class Taking:
    """A worker that takes over partition 0 in its third generation."""

    def __init__(self):
        self.ownership, self.takeovers, self.rebalancing, self.consumer_generation_id = Ownership(10.0), [], False, 3
        self.tables, self.conf = SimpleNamespace(changelog_topics=set()), SimpleNamespace(id="fold")
        self.consumer = SimpleNamespace(
            assignment=lambda: {PLACE}, highwaters=self.highwaters, perform_seek=self.perform_seek
        )
        self.meanwhile = lambda: None

    async def highwaters(self, *places):
        return dict.fromkeys(places, 7)

    async def perform_seek(self):
        self.meanwhile()

    def rebalance(self):
        """What the driver does when a rebalance begins."""
        self.ownership.revoked()
        self.rebalancing = True

    def _still(self, generation):
        return App._still(self, generation)

    async def take_over(self):
        await App._take_over(self, 3)


async def test_a_partition_that_is_lost_in_the_midst_of_taking_over_ends_nothing_but_that(taking):
    def lost():
        taking.rebalance()
        raise IllegalStateError("no current assignment for partition")

    taking.meanwhile = lost
    await taking.take_over()
    assert not taking.ownership.holds(0)


@pytest.fixture
def taking():
    return Taking()


async def test_partitions_are_taken_over(taking):
    await taking.take_over()
    assert taking.ownership.holds(0)


async def test_a_rebalance_that_begins_in_the_midst_of_taking_over_leaves_nothing_held(taking):
    taking.meanwhile = taking.rebalance
    await taking.take_over()
    assert not taking.ownership.holds(0)
    assert not taking.ownership.settled


@pytest.fixture
def owned():
    ownership = Ownership(10.0)
    ownership.assigned({PLACE: 7})
    return ownership


async def test_what_is_taken_away_while_its_position_is_asked_for_is_not_read_to_its_end(owned):
    async def gone(_tp):
        owned.revoked()
        raise IllegalStateError("Partition is not assigned")

    assert not await owned.read_to_end(0, gone, Progress(), {"requests"})


async def test_nor_is_what_is_taken_away_while_the_answer_is_on_its_way(owned):
    async def late(_tp):
        owned.revoked()
        return 7

    assert not await owned.read_to_end(0, late, Progress(), {"requests"})


async def test_what_was_there_when_it_was_taken_over_must_be_read(owned):
    reached = 6

    async def position(_tp):
        return reached

    assert not await owned.read_to_end(0, position, Progress(), {"requests"})
    reached = 7
    assert await owned.read_to_end(0, position, Progress(), {"requests"})
