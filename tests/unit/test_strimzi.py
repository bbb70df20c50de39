"""The catalogue as KafkaTopic manifests."""

import re

import yaml

from producers.topics import ObservedBroker, decide
from schemas import strimzi
from schemas.catalogue import load_catalogue


def test_every_topic_is_there_as_the_catalogue_says():
    catalogue = load_catalogue()
    made = {one["spec"]["topicName"]: one for one in strimzi.manifests(catalogue)}
    assert list(made) == [spec.name for spec in catalogue]
    for spec in catalogue:
        manifest = made[spec.name]
        assert (manifest["apiVersion"], manifest["kind"]) == ("kafka.strimzi.io/v1", "KafkaTopic")
        assert manifest["metadata"]["name"] == spec.name
        assert manifest["metadata"]["labels"]["strimzi.io/cluster"] == "kafka"
        assert "namespace" not in manifest["metadata"]
        assert (manifest["spec"]["partitions"], manifest["spec"]["replicas"]) == (spec.partitions, spec.replication)


def test_strimzi_and_ensure_make_the_same_topics():
    catalogue = load_catalogue()
    ensured = {
        plan.spec.name: (plan.spec.partitions, plan.replication, dict(plan.configs))
        for plan in decide(catalogue, ObservedBroker(3, {})).create
    }
    made = {
        one["spec"]["topicName"]: (
            one["spec"]["partitions"],
            one["spec"]["replicas"],
            {name: str(value) for name, value in one["spec"]["config"].items()},
        )
        for one in strimzi.manifests(catalogue)
    }
    assert made == ensured


def test_any_prefix_gives_names_that_an_object_may_have():
    catalogue = load_catalogue("Team_A.Peak-")
    for spec, manifest in zip(catalogue, strimzi.manifests(catalogue, "c", "n"), strict=True):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", manifest["metadata"]["name"])
        assert manifest["spec"]["topicName"] == spec.name
        assert manifest["metadata"]["namespace"] == "n"
        assert manifest["metadata"]["labels"]["strimzi.io/cluster"] == "c"


def test_the_text_is_read_back_as_it_was():
    made = strimzi.manifests(load_catalogue())
    text = strimzi.render(made, "the command")
    assert "`the command`" in text.splitlines()[0]
    assert list(yaml.safe_load_all(text)) == made
