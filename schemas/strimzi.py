"""The topics of the catalogue as Strimzi KafkaTopic manifests.

For: ``peaktime topics manifests``, where Strimzi's topic operator looks after Kafka. Pure: catalogue in, manifests
out. Must not: talk to a cluster, or state anything that the catalogue does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from schemas.catalogue import Catalogue, TopicSpec

API_VERSION = "kafka.strimzi.io/v1"
#: The Kafka cluster that the manifests are for unless another is named; Strimzi finds it by a label.
CLUSTER = "kafka"
_NO_NAME_CHARACTER = re.compile(r"[^a-z0-9.-]+")


def manifests(catalogue: Catalogue, cluster: str = CLUSTER, namespace: str | None = None) -> list[dict[str, Any]]:
    """The KafkaTopic of every topic, in the catalogue's order.

    Args:
        catalogue: the topics.
        cluster: name of the Kafka resource that they belong to.
        namespace: where the topic operator looks for them; left open if None.
    """
    return [_manifest(spec, cluster, namespace) for spec in catalogue]


def _manifest(spec: TopicSpec, cluster: str, namespace: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        # A topic may have characters that an object's name must not have; topicName below is what counts.
        "name": _NO_NAME_CHARACTER.sub("-", spec.name.lower()).strip("-."),
        "labels": {"app.kubernetes.io/part-of": "peaktime", "strimzi.io/cluster": cluster},
        "annotations": {"peaktime.io/key": spec.key, "peaktime.io/doc": spec.doc},
    }
    if namespace is not None:
        metadata["namespace"] = namespace
    config = {**spec.configs(), "min.insync.replicas": str(spec.min_insync)}
    return {
        "apiVersion": API_VERSION,
        "kind": "KafkaTopic",
        "metadata": metadata,
        "spec": {
            "topicName": spec.name,
            "partitions": spec.partitions,
            "replicas": spec.replication,
            "config": {name: int(value) if value.lstrip("-").isdecimal() else value for name, value in config.items()},
        },
    }


def render(documents: Iterable[dict[str, Any]], command: str) -> str:
    """Manifests as one YAML text that says by which command it was made."""
    text = yaml.safe_dump_all(documents, sort_keys=False, explicit_start=True, width=120, allow_unicode=True)
    return f"# Generated from schemas/topics.yaml by `{command}`: change the catalogue, not this file.\n{text}"
