"""What `topics ensure` decides, from what a broker has."""

from concurrent.futures import Future

import pytest

from peaktime.errors import BrokerError
from producers.topics import MIN_INSYNC, ObservedBroker, ObservedTopic, create, decide
from schemas.catalogue import load_catalogue

CATALOGUE = load_catalogue()


def there(spec, *, partitions=None, replication=1, **configs):
    named = {name.replace("_", "."): value for name, value in configs.items()}
    return ObservedTopic(spec.name, partitions or spec.partitions, replication, {**spec.configs(), **named})


def observed(brokers, *topics):
    return ObservedBroker(brokers, {topic.name: topic for topic in topics})


@pytest.mark.parametrize(("brokers", "copies", "min_insync"), [(1, 1, None), (2, 2, None), (3, 3, "2"), (5, 3, "2")])
def test_an_empty_broker_gets_everything(brokers, copies, min_insync):
    plan = decide(CATALOGUE, observed(brokers))
    assert [new.spec for new in plan.create] == list(CATALOGUE)
    assert {new.replication for new in plan.create} == {copies}
    assert {new.configs.get(MIN_INSYNC) for new in plan.create} == {min_insync}
    assert plan.differences == ()


def test_replication_can_be_said():
    plan = decide(CATALOGUE, observed(3), replication=1)
    assert {(new.replication, new.configs[MIN_INSYNC]) for new in plan.create} == {(1, "1")}


def test_what_is_as_it_should_be_is_left():
    plan = decide(CATALOGUE, observed(1, *(there(spec) for spec in CATALOGUE)))
    assert plan.create == plan.differences == ()
    assert plan.same == tuple(spec.name for spec in CATALOGUE)


def test_more_copies_and_another_order_of_policies_are_fine():
    spec = CATALOGUE.deliveries
    topic = there(spec, replication=3, cleanup_policy="delete,compact")
    assert spec.name in decide(CATALOGUE, observed(1, topic)).same


def test_every_difference_is_reported_and_nothing_is_created_for_it():
    spec = CATALOGUE.entries
    topic = there(spec, partitions=4, cleanup_policy="delete", retention_ms="1000")
    plan = decide(CATALOGUE, observed(3, topic))
    assert [difference.what for difference in plan.differences] == [
        "partitions", "replication", "cleanup.policy", "retention.ms", MIN_INSYNC,
    ]  # fmt: skip
    assert spec.name not in {new.spec.name for new in plan.create}
    assert spec.name not in plan.same
    assert "is 4, the catalogue says 12" in str(plan.differences[0])
    assert all(difference.remedy for difference in plan.differences)


class Silent:
    """An admin client whose requests nobody answers, as the embedded broker answers none about topics."""

    def create_topics(self, new, **_options):
        unanswered = Future()
        unanswered.set_exception(TimeoutError())
        return {topic.topic: unanswered for topic in new}


def test_a_broker_that_does_not_answer_is_told_of_with_the_topic():
    plan = decide(CATALOGUE, observed(1))
    with pytest.raises(BrokerError, match=rf"{CATALOGUE.requests.name}.*does not answer"):
        create(Silent(), plan.create)
