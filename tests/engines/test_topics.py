"""`peaktime topics ensure` on a real broker."""

import time

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from support.write_golden import REQUEST

from peaktime import cli
from peaktime.errors import PublishError
from producers.publish import Publisher
from producers.topics import observe
from schemas.catalogue import load_catalogue
from schemas.codec import Codec


@pytest.fixture
def catalogue(topic_prefix):
    return load_catalogue(topic_prefix)


@pytest.fixture
def ensure(kafka, topic_prefix, monkeypatch):
    monkeypatch.setenv("PEAKTIME_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("PEAKTIME_TOPIC_PREFIX", topic_prefix)
    return lambda *options: cli.run(["topics", "ensure", *options])


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.bootstrap})


def test_it_creates_what_the_catalogue_says_once(ensure, admin, catalogue, capsys):
    assert ensure() == 0
    assert capsys.readouterr().out.count("created") == 9
    found = observe(admin, catalogue).topics
    for spec in catalogue:
        topic = found[spec.name]
        assert topic.partitions == spec.partitions
        assert {name: topic.configs[name] for name in spec.configs()} == spec.configs()
    assert ensure() == 0
    assert capsys.readouterr().out.count("as it should be") == 9


def test_it_reports_and_never_changes_what_is_different(ensure, admin, catalogue, capsys):
    spec = catalogue.entries
    admin.create_topics([NewTopic(spec.name, 3, 1, config={"cleanup.policy": "delete"})])[spec.name].result(15)
    assert ensure() == 2
    err = capsys.readouterr().err
    assert f"{spec.name}: partitions is 3, the catalogue says 12" in err
    assert "cleanup.policy is delete" in err
    found = observe(admin, catalogue).topics
    assert (found[spec.name].partitions, found[spec.name].configs["cleanup.policy"]) == (3, "delete")
    assert set(found) == {spec.name for spec in catalogue}

    resource = ConfigResource(ResourceType.TOPIC, catalogue.facts.name)
    resource.add_incremental_config(ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET))
    admin.incremental_alter_configs([resource])[resource].result(15)
    deadline = time.monotonic() + 10
    while observe(admin, catalogue).topics[catalogue.facts.name].configs["retention.ms"] != "1000":
        assert time.monotonic() < deadline, "the broker never showed its new configuration"
    assert ensure() == 2
    assert f"{catalogue.facts.name}: retention.ms is 1000" in capsys.readouterr().err


def test_more_copies_than_brokers_is_an_error(ensure, capsys):
    assert ensure("--replication", "3") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "--replication" in err


def test_without_a_broker_it_is_an_error(ensure, monkeypatch, capsys):
    monkeypatch.setenv("PEAKTIME_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setattr("producers.topics._TIMEOUT_SECONDS", 1.0)
    assert ensure() == 1
    assert "PEAKTIME_KAFKA_BOOTSTRAP" in capsys.readouterr().err


def test_publishing_on_what_was_created(ensure, kafka, catalogue):
    assert ensure() == 0
    with Publisher({"bootstrap.servers": kafka.bootstrap}, Codec(), catalogue, 10) as publisher:
        # Kafka's murmur2 of "21" is -973932308; the client of any other language comes to the same partition.
        position = publisher.publish(catalogue.requests, "21", REQUEST)
        assert position.partition == (-973932308 & 0x7FFFFFFF) % 12
        with pytest.raises(PublishError) as caught:
            publisher.publish(catalogue.requests, "21", b"x" * 1_100_000)
        assert "Keep it under 1048588" in caught.value.remedy
        assert publisher.publish(catalogue.dead_letters, "21", b"x" * 1_100_000).offset == 0
        # One refusal must not spoil what follows.
        assert publisher.publish(catalogue.requests, "21", REQUEST).offset == position.offset + 1
