"""The cluster port on a real API server: what a rule there would refuse is known before it is needed, and who is who."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support.rights import grant
from support.site import eventually, request, site

from peaktime.core.plan import Delete
from peaktime.core.runs import cron_workflow
from peaktime.metrics import Metrics
from peaktime.profiles import load_profiles
from peaktime.sandbox.clock import RealClock
from processors.reconcile.cluster import BusyError, ConflictError, RefusedError
from processors.reconcile.kubernetes import Kubernetes
from processors.reconcile.manners import Manners
from processors.reconcile.trials import Trials, trial_runs
from schemas.records import NotificationKind

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
TARGET = "infra"
PROFILES = {
    "zone": "Asia/Seoul",
    "bands": {
        "common": {"from": "09:00", "to": "18:00"},
        "morning": {"from": "06:00", "to": "12:00"},
        "night": {"from": "18:00", "to": "06:00"},
    },
    "profiles": [
        {
            "target": TARGET,
            "days": ["mon"],
            "bands": ["morning", "night"],
            "level": 1,
            "scaleOut": {"stages": [[{"service": "app", "workflowTemplate": "app-start", "template": "scale"}]]},
            "scaleIn": {"stages": [[{"service": "app", "workflowTemplate": "app-stop", "template": "scale"}]]},
        },
    ],
}


@pytest.fixture
def profiles(tmp_path):
    path = tmp_path / "profiles.yaml"
    path.write_text(json.dumps(PROFILES), encoding="utf-8")
    return load_profiles(path)


@asynccontextmanager
async def cluster_of(kubernetes_api, namespace, user="peaktime"):
    cluster = Kubernetes(namespaces=[namespace], kubeconfig=kubernetes_api.kubeconfig(user), metrics=Metrics())
    await cluster.start(lambda _target: None)
    try:
        yield cluster
    finally:
        await cluster.stop()


def trials_of(cluster, profiles, namespace, changed, again=300.0):
    return Trials(
        cluster=cluster,
        profiles=profiles,
        namespace=namespace,
        clock=RealClock(),
        manners=Manners(qps=100, burst=100),
        changed=changed,
        again=again,
    )


async def soon(what, condition, seconds=30):
    return await asyncio.to_thread(eventually, what, condition, seconds)


def rule(namespace, name):
    """Workflows by night are not taken in this namespace."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": ["argoproj.io"],
                        "apiVersions": ["v1alpha1"],
                        "operations": ["CREATE"],
                        "resources": ["workflows"],
                    },
                ],
            },
            "validations": [
                {
                    "expression": "!has(object.metadata.labels) || !('peaktime.io/band' in object.metadata.labels)"
                    " || object.metadata.labels['peaktime.io/band'] != 'night'",
                    "message": "nothing runs by night here",
                },
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


@pytest.fixture
def ruled(kubernetes_api, namespace):
    """The rule, in force."""
    for obj in rule(namespace, namespace):
        kubernetes_api.apply_manifests(obj)
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "probe", "labels": {"peaktime.io/band": "night"}},
        "spec": {},
    }
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows"

    def in_force():
        answer = kubernetes_api._http.post(path, params={"dryRun": "All"}, json=body)
        return answer.is_client_error

    eventually("the rule to be in force", in_force)
    root = "/apis/admissionregistration.k8s.io/v1"
    yield lambda: kubernetes_api.call("DELETE", f"{root}/validatingadmissionpolicybindings/{namespace}")
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        if kubernetes_api.exists(f"{root}/{kind}/{namespace}"):
            kubernetes_api.call("DELETE", f"{root}/{kind}/{namespace}")


async def test_what_a_rule_refuses_is_known_at_once_and_forgotten_once_the_rule_is_gone(
    kubernetes_api, namespace, profiles, ruled
):
    grant(kubernetes_api, namespace)
    told = []
    async with cluster_of(kubernetes_api, namespace) as cluster:
        trials = trials_of(cluster, profiles, namespace, told.append, again=0.5)
        assert trials.refusals(TARGET) == ()
        await soon("the refusals", lambda: told)
        assert told == [TARGET]
        found = trials.messages(TARGET)
        assert set(found) == {"infra-mon-night scale-out", "infra-mon-night scale-in"}
        assert all("Workflow: " in message and "nothing runs by night here" in message for message in found.values())
        assert not any("trial-" in message for message in found.values())
        ruled()
        # The server may forget a rule bit by bit.
        await soon("it to be fine again", lambda: len(told) > 1 and trials._known[TARGET].refusals == ())
        await trials.stop()
    for kind in ("cronworkflows", "workflows"):
        assert kubernetes_api.call("GET", f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{kind}")["items"] == []


@pytest.mark.usefixtures("profiles", "ruled")
def test_people_are_told_of_it_long_before_the_night(kafka, kubernetes_api, namespace, topic_prefix, tmp_path):
    grant(kubernetes_api, namespace)
    with site(
        kafka.bootstrap,
        topic_prefix,
        tmp_path,
        namespace=namespace,
        kubeconfig=kubernetes_api.kubeconfig("peaktime"),
        profiles=tmp_path / "profiles.yaml",
    ) as world:
        world.ensure_topics()
        world.start("worker")
        world.publish(request(target=TARGET, day="mon", band="morning"))

        def problems():
            found = world.records(world.catalogue.notifications)
            return [n for n in found if n.kind is NotificationKind.PROBLEM_OPENED]

        eventually("both ways to be told", lambda: len({n.notification_id for n in problems()}) == 2)
        told = [f"{n.headline} {n.text} {n.fields}" for n in problems()]
        assert all("infra-mon-night" in words and "nothing runs by night here" in words for words in told)


async def test_a_missing_right_is_told_as_a_refusal(kubernetes_api, namespace, profiles):
    told = []
    async with cluster_of(kubernetes_api, namespace, "nobody") as cluster:
        trials = trials_of(cluster, profiles, namespace, told.append)
        trials.refusals(TARGET)
        await soon("the refusals", lambda: told)
        found = trials.refusals(TARGET)
        assert {(one.profile, one.way, one.kind) for one in found} == {
            (f"infra-mon-{band}", way, kind)
            for band in ("morning", "night")
            for way in ("scale-out", "scale-in")
            for kind in ("CronWorkflow", "Workflow")
        }
        assert all("forbidden" in one.message for one in found)
        await trials.stop()


def manifest_of(profiles, namespace, position=1):
    profile = profiles.find(TARGET, "mon", "morning")
    run = next(trial_runs(profile, RealClock().now()))
    return cron_workflow(run, zone="Asia/Seoul", namespace=namespace, position=position)


async def test_conflicts_are_told_from_what_only_looks_like_one(kubernetes_api, namespace, profiles):
    grant(kubernetes_api, namespace)
    async with cluster_of(kubernetes_api, namespace) as cluster, cluster_of(kubernetes_api, namespace) as blind:
        await soon("both to have listed", lambda: cluster.synced and blind.synced)
        manifest = manifest_of(profiles, namespace)
        name = manifest["metadata"]["name"]
        await cluster.create(manifest)
        assert name in cluster.observed(TARGET, []).cron_workflows
        with pytest.raises(ConflictError, match="already exists"):
            await blind.create(manifest)
        # As after an answer that was lost: it has looked, and knows the object for its own.
        seen = blind.observed(TARGET, []).cron_workflows[name]
        old = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}
        with pytest.raises(ConflictError):
            await cluster.apply(old)
        uid, at = seen["metadata"]["uid"], seen["metadata"]["resourceVersion"]
        wrong = Delete(name=name, namespace=namespace, uid="00000000", resource_version=at, reason="")
        with pytest.raises(BusyError, match="as it was thought to be"):
            await cluster.delete(wrong)
        await cluster.delete(Delete(name=name, namespace=namespace, uid=uid, resource_version=at, reason=""))
        with pytest.raises(ConflictError):
            await cluster.delete(Delete(name=name, namespace=namespace, uid=uid, resource_version=at, reason=""))
        unnamed = {**manifest, "metadata": {**manifest["metadata"], "name": "No Name"}}
        with pytest.raises(RefusedError):
            await cluster.create(unnamed)


async def test_what_others_hold_stays_and_what_they_took_of_ours_is_taken_back(kubernetes_api, namespace, profiles):
    grant(kubernetes_api, namespace)
    async with cluster_of(kubernetes_api, namespace) as cluster:
        manifest = manifest_of(profiles, namespace)
        name = manifest["metadata"]["name"]
        path = f"{CRONS.format(namespace)}/{name}"
        await cluster.create(manifest)
        theirs = {
            "apiVersion": manifest["apiVersion"],
            "kind": "CronWorkflow",
            "metadata": {"name": name, "labels": {"team": "ops"}, "annotations": {"note": "theirs"}},
            "spec": {"schedules": ["1 1 1 1 *"], "successfulJobsHistoryLimit": 9},
        }
        kubernetes_api.call(
            "PATCH",
            path,
            theirs,
            content_type="application/apply-patch+yaml",
            fieldManager="an-operator",
            force="true",
        )
        changed = await soon(
            "it to be seen",
            lambda: (
                (c := cluster.observed(TARGET, []).cron_workflows.get(name))
                and c["spec"]["schedules"] == ["1 1 1 1 *"]
                and c
            ),
        )
        await cluster.apply(
            {
                **manifest,
                "metadata": {**manifest["metadata"], "resourceVersion": changed["metadata"]["resourceVersion"]},
            }
        )
    found = kubernetes_api.call("GET", path)
    assert found["spec"]["schedules"] == manifest["spec"]["schedules"]
    assert found["spec"]["successfulJobsHistoryLimit"] == 9
    assert found["metadata"]["labels"]["team"] == "ops"
    assert found["metadata"]["annotations"]["note"] == "theirs"
    holders = {
        m["manager"] for m in found["metadata"]["managedFields"] if "f:schedules" in m["fieldsV1"].get("f:spec", {})
    }
    assert holders == {"peaktime"}


async def test_a_field_that_is_not_wanted_any_more_is_taken_away_though_a_post_set_it(
    kubernetes_api, namespace, profiles
):
    grant(kubernetes_api, namespace)
    async with cluster_of(kubernetes_api, namespace) as cluster:
        manifest = manifest_of(profiles, namespace)
        name = manifest["metadata"]["name"]
        path = f"{CRONS.format(namespace)}/{name}"
        with_account = {**manifest["spec"]["workflowSpec"], "serviceAccountName": "scaler"}
        await cluster.create({**manifest, "spec": {**manifest["spec"], "workflowSpec": with_account}})
        kubernetes_api.call(
            "PATCH", path, {"spec": {"successfulJobsHistoryLimit": 9}}, content_type="application/merge-patch+json"
        )
        seen = await soon(
            "it to be seen",
            lambda: (
                (c := cluster.observed(TARGET, []).cron_workflows.get(name))
                and "successfulJobsHistoryLimit" in c["spec"]
                and c
            ),
        )
        assert seen["spec"]["workflowSpec"]["serviceAccountName"] == "scaler"
        at = seen["metadata"]["resourceVersion"]
        await cluster.apply({**manifest, "metadata": {**manifest["metadata"], "resourceVersion": at}})
    found = kubernetes_api.call("GET", path)
    assert "serviceAccountName" not in found["spec"]["workflowSpec"]
    assert found["spec"]["successfulJobsHistoryLimit"] == 9
    assert found["spec"]["workflowSpec"]["templates"] == manifest["spec"]["workflowSpec"]["templates"]


async def test_a_dry_run_makes_nothing(kubernetes_api, namespace, profiles):
    grant(kubernetes_api, namespace)
    async with cluster_of(kubernetes_api, namespace) as cluster:
        assert await cluster.trial(manifest_of(profiles, namespace)) is None
    assert kubernetes_api.call("GET", CRONS.format(namespace))["items"] == []


def test_a_trial_is_almost_a_year_ahead(profiles):
    now = RealClock().now()
    out, back = trial_runs(profiles.find(TARGET, "mon", "night"), now)
    assert timedelta(days=360) < out.instant - now < timedelta(days=365)
    assert out.instant < back.instant
    assert out.name.startswith("peaktime-trial-")
