"""The stand-in for Argo on a real API server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from peaktime.sandbox import argo_rules as rules
from peaktime.sandbox.argo import FastForward, StandIn
from peaktime.sandbox.argo_clusters import AlreadyExistsError, KubernetesCluster, RefusedError
from peaktime.sandbox.argo_rules import Running
from peaktime.sandbox.clock import SandboxClock

NAME = "peaktime-create-infra-common-common-20260504"
LATER = datetime(2099, 5, 4, 0, 0, tzinfo=UTC)
CHILD = f"{NAME}-{int(LATER.timestamp())}"


def cron(**spec):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "peaktime"}},
        "spec": {
            "schedules": ["0 9 4 5 *"],
            "timezone": "Asia/Seoul",
            "concurrencyPolicy": "Forbid",
            "stopStrategy": {"expression": "cronworkflow.succeeded + cronworkflow.failed >= 1"},
            "workflowMetadata": {"labels": {"app.kubernetes.io/part-of": "peaktime"}},
            "workflowSpec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {"duration": "1"}}]},
        }
        | spec,
    }


@pytest.fixture
def clock(tmp_path):
    clock = SandboxClock(tmp_path / "clock.json")
    clock.advance_to(LATER - timedelta(hours=1))
    return clock


@pytest.fixture
def path(namespace):
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}"


@pytest.fixture
def cluster(kubernetes_api, namespace):
    return KubernetesCluster(kubernetes_api.kubeconfig(), space=namespace)


async def seen(cluster, condition, seconds=20):
    """Wait until the watches show it."""
    async with asyncio.timeout(seconds):
        while not condition(await cluster.view()):
            await cluster.changed(1)


async def test_a_cron_workflow_is_fired_run_and_stopped(kubernetes_api, cluster, path, clock):
    steps = []
    async with cluster, StandIn(cluster, clock, Running(run_seconds=0.1), steps.append) as stand_in:
        kubernetes_api.call("POST", f"{path}/cronworkflows", cron())
        await seen(cluster, lambda view: view.crons)
        # Only what has been looked at before its instant is fired.
        async with asyncio.timeout(20):
            while not stand_in._looked:  # noqa: ASYNC110 - the loop runs beside us
                await asyncio.sleep(0.01)
        clock.advance_to(LATER)
        await seen(cluster, lambda view: view.crons and rules.phase(view.crons[0]) == "Stopped")
    assert [(step.event, step.workflow) for step in steps] == [
        ("fired", CHILD),
        ("running", CHILD),
        ("succeeded", CHILD),
    ]
    run = kubernetes_api.call("GET", f"{path}/workflows/{CHILD}")
    owner = kubernetes_api.call("GET", f"{path}/cronworkflows/{NAME}")
    assert run["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert run["metadata"]["annotations"][rules.SCHEDULED_TIME] == "2099-05-04T00:00:00Z"
    assert run["metadata"]["labels"][rules.COMPLETED_LABEL] == "true"
    assert run["status"]["phase"] == "Succeeded"
    assert (owner["status"]["succeeded"], owner["status"]["active"]) == (1, [])
    assert owner["status"]["lastScheduledTime"] == "2099-05-04T00:00:00Z"
    assert owner["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "peaktime"}


async def test_it_fast_forwards_and_does_not_mourn_what_is_deleted(kubernetes_api, cluster, path, clock):
    kubernetes_api.call("POST", f"{path}/cronworkflows", cron())
    how = FastForward(settle=0.1, idle=0.3, patience=60, await_deletion=True)
    async with cluster:
        going = asyncio.create_task(StandIn(cluster, clock, Running(3600)).fast_forward(how))
        await seen(cluster, lambda view: view.crons and rules.phase(view.crons[0]) == "Stopped")
        kubernetes_api.call("DELETE", f"{path}/cronworkflows/{NAME}", propagationPolicy="Orphan")
        async with asyncio.timeout(30):
            summary = await going
        assert not (await cluster.view()).crons
        assert await cluster.patch("CronWorkflow", path.rpartition("/")[2], NAME, {"status": {}}) is None
    assert (summary.fired, summary.succeeded, summary.ended) == (1, 1, "nothing is left to fire")
    assert kubernetes_api.call("GET", f"{path}/workflows/{CHILD}")["status"]["phase"] == "Succeeded"


async def test_somebody_elses_workflow_runs_and_its_name_is_taken(kubernetes_api, cluster, path, namespace):
    theirs = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": CHILD, "namespace": namespace},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]},
    }
    kubernetes_api.call("POST", f"{path}/workflows", theirs)
    async with cluster:
        with pytest.raises(AlreadyExistsError):
            await cluster.create(theirs)
        with pytest.raises(RefusedError):
            await cluster.create(theirs | {"metadata": {"name": "Not A Name", "namespace": namespace}})
        async with StandIn(cluster, running=Running(run_seconds=0)):
            await seen(cluster, lambda view: [rules.phase(one) for one in view.workflows] == ["Succeeded"])


async def test_all_namespaces_and_a_spec_error(kubernetes_api, namespace, path, clock):
    kubernetes_api.call("POST", f"{path}/cronworkflows", cron(timezone="Asia/Nowhere"))

    def mine(view):
        return [one for one in view.crons if rules.namespace(one) == namespace]

    async with KubernetesCluster(kubernetes_api.kubeconfig()) as cluster, StandIn(cluster, clock):
        await seen(cluster, lambda view: mine(view)[0].get("status", {}).get("conditions"))
        [one] = mine(await cluster.view())
    assert one["status"]["conditions"][0]["type"] == "SpecError"


async def test_it_goes_on_after_the_api_server_was_away(kubernetes_api, cluster, path, clock):
    steps = []
    async with cluster, StandIn(cluster, clock, Running(run_seconds=0), steps.append) as stand_in:
        await asyncio.to_thread(kubernetes_api.kill_apiserver)
        await asyncio.to_thread(kubernetes_api.restart_apiserver)
        kubernetes_api.call("POST", f"{path}/cronworkflows", cron())
        async with asyncio.timeout(40):
            while not stand_in._looked:  # noqa: ASYNC110 - the loop runs beside us
                await asyncio.sleep(0.01)
        clock.advance_to(LATER)
        await seen(cluster, lambda view: view.crons and rules.phase(view.crons[0]) == "Stopped")
    assert [step.event for step in steps if step.event != "error"] == ["fired", "running", "succeeded"]
