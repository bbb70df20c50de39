"""``peaktime plan`` on a real Kafka and a real API server, as somebody who may read there and nothing else."""

import json
from datetime import timedelta

import pytest
from support.rights import grant
from support.site import eventually, minute, request, site

from schemas.records import RequestAction

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"


@pytest.fixture
def world(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    with site(
        kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        digest_at="never",
    ) as opened:
        opened.ensure_topics()
        opened.crons = lambda: {
            obj["metadata"]["name"]: obj for obj in kubernetes_api.call("GET", CRONS.format(namespace))["items"]
        }
        yield opened


@pytest.fixture
def looker(kubernetes_api, namespace):
    """The kubeconfig of an identity that may look at Argo's objects in the namespace, and do nothing else."""
    named = {"metadata": {"name": "looker", "namespace": namespace}}
    api = "rbac.authorization.k8s.io"
    kubernetes_api.apply_manifests(
        {"apiVersion": "v1", "kind": "ServiceAccount", **named},
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            **named,
            "rules": [{"apiGroups": ["argoproj.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            **named,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "looker"},
            "subjects": [{"kind": "ServiceAccount", "name": "looker", "namespace": namespace}],
        },
    )
    return kubernetes_api.service_account_kubeconfig(namespace, "looker")


def planned(world, looker):
    answer = world.run("plan", "--json", kubeconfig=looker)
    assert answer.returncode in (0, 2), answer.stderr
    shown = json.loads(answer.stdout)
    assert shown["something"] is (answer.returncode == 2)
    return [
        (write["verb"], write["name"], write["reason"]) for target in shown["targets"] for write in target["writes"]
    ], shown


@pytest.mark.slow
def test_who_may_only_read_is_told_what_the_worker_will_do(world, looker, kubernetes_api, namespace):
    starts = minute(timedelta(days=3))
    only_folds = world.start("worker", "--only", "fold")
    world.publish(request(starts_at=starts), request(starts_at=starts, action=RequestAction.SCALE_IN))
    eventually("two folded requests", lambda: len(world.read(world.catalogue.entries)) == 2)
    only_folds.terminate()
    writes, _ = planned(world, looker)
    assert [verb for verb, _, _ in writes] == ["create", "create"]
    assert not world.crons()

    worker = world.start("worker")
    eventually("nothing to do", lambda: planned(world, looker)[1]["something"] is False)
    assert sorted(world.crons()) == sorted(name for _, name, _ in writes)
    worker.terminate()

    name = min(world.crons())
    path = f"{CRONS.format(namespace)}/{name}"
    patch = {"spec": {"timezone": "Europe/Paris"}}
    kubernetes_api.call("PATCH", path, patch, content_type="application/merge-patch+json")
    edited = world.crons()[name]["metadata"]["resourceVersion"]
    ((verb, about, reason),) = planned(world, looker)[0]
    assert (verb, about) == ("apply", name)
    assert "timezone" in reason
    assert world.crons()[name]["metadata"]["resourceVersion"] == edited


@pytest.mark.slow
def test_who_may_not_even_read_is_told_so(world, kubernetes_api):
    answer = world.run("plan", kubeconfig=kubernetes_api.kubeconfig("nobody"), log_level="error")
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("peaktime: the cluster: cannot be read: ")
    assert "forbidden" in line
    assert "peaktime doctor" in line
