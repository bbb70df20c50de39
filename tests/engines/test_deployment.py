"""What is deployed, held against the real things: Helm, the API server with its admission, Compose, and a broker."""

import itertools
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx
import pytest
import yaml
from support.engines import compose
from support.engines.kubernetes import http_client
from support.engines.process import free_port, wait_until

from peaktime.profiles import parse_profiles

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CHART = ROOT / "helm" / "peaktime"
ARGO = "/apis/argoproj.io/v1alpha1"
SAMPLES = ROOT / "peaktime" / "samples"

SMALL = {"gateway": {"enabled": False}, "slackSink": {"enabled": False}, "importer": {"enabled": False}}
FULL = {
    "image": {"repository": "images/peaktime", "tag": "1.2.3", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "fullnameOverride": "a-very-long-name-that-is-cut-somewhere",
    "kafka": {
        "bootstrap": "one.example:9093,two.example:9093",
        "securityProtocol": "SASL_SSL",
        "saslMechanism": "SCRAM-SHA-512",
        "existingSecret": "kafka",
        "caSecret": "kafka-ca",
        "topicPrefix": "team.",
        "groupPrefix": "team-",
    },
    "schemaRegistry": {"url": "https://registry.example", "existingSecret": "registry", "caSecret": "registry-ca"},
    "cluster": {"linkTemplate": "https://argo.example/workflows/{namespace}/{workflow}"},
    "zone": "UTC",
    "profiles": (SAMPLES / "profiles.yaml").read_text("utf-8"),
    "calendars": (SAMPLES / "calendars.yaml").read_text("utf-8"),
    "slack": {"mode": "web", "existingSecret": "slack", "channel": "#ops"},
    "topics": {"kafkaSecret": "kafka-admin"},
    "worker": {"replicas": 3, "kafkaSecret": "kafka-worker", "extraEnv": [{"name": "PEAKTIME_GRACE", "value": "30"}]},
    "gateway": {"service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}}, "publishTimeout": 2.5},
    "importer": {
        "calendars": ["kr", "a-calendar-with-a-very-long-id", "a-calendar-with-a-very-long-di"],
        "extraEnv": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "feeds", "key": "key"}}}],
    },
    "extraEnv": [{"name": "PEAKTIME_SESSION_TIMEOUT", "value": "12"}],
    "podAnnotations": {"c": "d"},
    "podLabels": {"team": "sre"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "serviceAccount": {"annotations": {"e": "f"}},
    "networkPolicy": {"enabled": True},
    "sampleWorkflowTemplates": {"enabled": True},
}
VALUES = {"default": {}, "small": SMALL, "full": FULL}


@pytest.fixture
def helm(helm_binary, tmp_path):
    def run(*arguments, values=None):
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values or {}))
        # Away from whatever configuration of Helm the machine has.
        env = {"PATH": "", "HOME": str(tmp_path)}
        command = [helm_binary, *arguments, "--values", file]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=60)

    return run


@pytest.fixture
def rendered(helm):
    def render(values, namespace="peaktime", release="peaktime"):
        done = helm("template", release, CHART, "--namespace", namespace, values=values)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return render


def plain(namespace):
    """The manifests of k8s/ as for another namespace; Strimzi's kind is not the API server's."""
    found = []
    for file in sorted(K8S.glob("*.yaml")):
        for one in yaml.safe_load_all(file.read_text("utf-8")):
            if one["kind"] in ("Kustomization", "KafkaTopic"):
                continue
            if "namespace" in one["metadata"]:
                one["metadata"]["namespace"] = namespace
            for subject in one.get("subjects", ()):
                subject["namespace"] = namespace
            found.append(one)
    return found


def dry_run(api, one, namespace):
    """Ask the API server whether it would take an object, down to unknown fields."""
    return api.call(
        "PATCH", api._path_of(one, namespace), one, content_type="application/apply-patch+yaml",
        dryRun="All", fieldManager="tests", force="true", fieldValidation="Strict",
    )  # fmt: skip


def pods(manifests):
    """The pods that workloads would make, by the workload's name."""
    made = {}
    for one in manifests:
        if one["kind"] in ("Deployment", "Job", "CronJob"):
            spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
            made[one["metadata"]["name"]] = spec["template"]
    return made


class TestHelm:
    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
    def test_lint(self, helm, values):
        done = helm("lint", "--strict", CHART, values=values)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
    def test_what_is_rendered_is_taken_by_the_api_server(self, rendered, kubernetes_api, namespace, values):
        with kubernetes_api.new_namespace("extra") as extra:
            cluster = {**values.get("cluster", {}), "extraNamespaces": [extra] if values else []}
            manifests = rendered({**values, "cluster": cluster}, namespace)
            for one in manifests:
                assert one["metadata"]["namespace"] in (namespace, extra)
                dry_run(kubernetes_api, one, namespace)
        assert "{{" not in yaml.safe_dump(manifests), "Argo would evaluate it"
        names = [(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in manifests]
        assert len(set(names)) == len(names)
        wanted = {"ServiceAccount", "Role", "RoleBinding", "Deployment", "Job"}
        if values is not SMALL:
            wanted |= {"Service", "CronJob"}
        if values is FULL:
            wanted |= {"ConfigMap", "NetworkPolicy", "WorkflowTemplate"}
        assert {kind for kind, *_ in names} == wanted

    def test_a_configuration_arrives_as_it_was_given(self, rendered):
        maps = {one["metadata"]["name"]: one["data"] for one in rendered(FULL) if one["kind"] == "ConfigMap"}
        [text] = [data["profiles.yaml"] for data in maps.values() if "profiles.yaml" in data]
        assert text == FULL["profiles"]
        assert parse_profiles(text, "chart").by_name

    def test_each_role_logs_in_to_kafka_as_itself(self, rendered):
        logins = {}
        for pod in pods(rendered(FULL)).values():
            [container] = pod["spec"]["containers"]
            env = {one["name"]: one for one in container["env"]}
            assert env["PEAKTIME_KAFKA_SECURITY_PROTOCOL"]["value"] == "SASL_SSL"
            assert env["PEAKTIME_KAFKA_SASL_MECHANISM"]["value"] == "SCRAM-SHA-512"
            mounts = {one["mountPath"] for one in container["volumeMounts"]}
            assert str(Path(env["PEAKTIME_KAFKA_CA_FILE"]["value"]).parent) in mounts
            asked = {
                env[f"PEAKTIME_KAFKA_{part}"]["valueFrom"]["secretKeyRef"]["name"] for part in ("USERNAME", "PASSWORD")
            }
            [logins[container["args"][0]]] = asked
        assert logins == {
            "topics": "kafka-admin",
            "worker": "kafka-worker",
            "gateway": "kafka",
            "slack-sink": "kafka",
            "import-calendar": "kafka",
        }

    def test_another_configuration_makes_other_pods(self, rendered):
        one, other = (
            pods(rendered({"profiles": text}))["peaktime-worker"]["metadata"]["annotations"]
            for text in ("a: 1", "a: 2")
        )
        assert one != other

    def test_the_chart_and_the_manifests_deploy_the_same(self, rendered):
        """Where they need not differ: rights, probes, security, time to stop, resources."""

        def essence(manifests):
            found = {}
            for name, pod in pods(manifests).items():
                spec, [container] = pod["spec"], pod["spec"]["containers"]
                found[name] = (
                    {key: spec.get(key) for key in (
                        "securityContext", "automountServiceAccountToken", "enableServiceLinks", "serviceAccountName",
                        "terminationGracePeriodSeconds", "restartPolicy",
                    )},
                    {key: container.get(key) for key in (
                        "image", "args", "ports", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle",
                        "resources", "securityContext", "workingDir",
                    )},
                )  # fmt: skip
            for one in manifests:
                if one["kind"] in ("Role", "RoleBinding"):
                    found[one["kind"]] = {key: one.get(key) for key in ("rules", "subjects", "roleRef")}
                if one["kind"] == "Deployment":
                    spec = one["spec"]
                    found[one["metadata"]["name"], "scale"] = (spec["replicas"], spec["strategy"])
                if one["kind"] == "CronJob":
                    found["schedule"] = {key: value for key, value in one["spec"].items() if key != "jobTemplate"}
            return found

        assert essence(rendered({})) == essence(plain("peaktime"))

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"slack": {"mode": "web"}}, "/slack/existingSecret"),
            ({"kafka": {"securityProtocol": "SASL_SSL"}}, "/kafka/existingSecret"),
            ({"worker": {"replicas": 12}}, "/worker/replicas"),
            ({"kafka": {"bootstrapServers": "x:1"}}, "bootstrapServers"),
            ({"profiles": {"zone": "UTC"}}, "/profiles"),
        ],
    )
    def test_wrong_values_are_refused(self, helm, values, complaint):
        done = helm("template", "peaktime", CHART, values=values)
        assert done.returncode != 0
        assert complaint in done.stderr


class TestManifests:
    def test_each_is_taken_by_the_api_server(self, kubernetes_api, namespace):
        for one in plain(namespace):
            dry_run(kubernetes_api, one, namespace)

    def test_an_unknown_field_would_be_noticed(self, kubernetes_api, namespace):
        [one] = [one for one in plain(namespace) if one["metadata"]["name"] == "peaktime-worker" and "spec" in one]
        one["spec"]["template"]["spec"]["terminationGraceSeconds"] = 15
        with pytest.raises(httpx.HTTPStatusError, match="terminationGraceSeconds"):
            dry_run(kubernetes_api, one, namespace)

    @pytest.mark.parametrize("source", ["k8s", "chart"])
    def test_pods_keep_to_the_restricted_standard(self, kubernetes_api, namespace, rendered, source):
        label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        kubernetes_api.call(
            "PATCH",
            f"/api/v1/namespaces/{namespace}",
            label,
            content_type="application/merge-patch+json",
        )
        path = f"/api/v1/namespaces/{namespace}/pods"
        manifests = plain(namespace) if source == "k8s" else rendered(FULL, namespace)
        kubernetes_api.apply_manifests(*(one for one in manifests if one["kind"] == "ServiceAccount"))
        made = pods(manifests)
        assert len(made) == (5 if source == "k8s" else 7)
        for name, template in made.items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]}
            pod["spec"].setdefault("restartPolicy", "Always")
            kubernetes_api.call("POST", path, pod, dryRun="All")
            # And the standard is really enforced here.
            del pod["spec"]["securityContext"]
            with pytest.raises(httpx.HTTPStatusError, match="violates PodSecurity"):
                kubernetes_api.call("POST", path, pod, dryRun="All")


READS = ("get", "list", "watch")
ALLOWED = {
    *itertools.product(["cronworkflows"], [*READS, "create", "patch", "delete"]),
    *itertools.product(["workflows"], [*READS, "create"]),
    *itertools.product(["workflowtemplates"], READS),
    ("cronworkflows/finalizers", "update"),
}
GROUPS = {
    "argoproj.io": [
        "cronworkflows", "cronworkflows/finalizers", "cronworkflows/status", "workflows", "workflows/finalizers",
        "workflowtemplates", "workflowtasksets", "clusterworkflowtemplates", "sensors", "*",
    ],
    "": ["secrets", "configmaps", "pods", "pods/exec", "serviceaccounts", "serviceaccounts/token", "events", "*"],
    "apps": ["deployments", "deployments/scale"],
    "batch": ["jobs"],
    "coordination.k8s.io": ["leases"],
    "rbac.authorization.k8s.io": ["roles", "rolebindings"],
}  # fmt: skip
VERBS = (*READS, "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate")


def may(caller, namespace, group, resource, verb):
    resource, _, sub = resource.partition("/")
    attributes = {"namespace": namespace, "group": group, "resource": resource, "subresource": sub, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = caller.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review).raise_for_status()
    return answer.json()["status"]["allowed"]


def cron_workflow(name):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "peaktime"}},
        "spec": {
            "schedules": ["0 9 4 5 *"],
            "timezone": "Asia/Seoul",
            "workflowSpec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {"duration": "1"}}]},
        },
    }


class TestRights:
    @pytest.fixture(params=["k8s", "chart"])
    def site(self, request, kubernetes_api, namespace, rendered):
        """A namespace with the rights of one deployment, really applied."""
        manifests = plain(namespace) if request.param == "k8s" else rendered({}, namespace)
        kinds = ("ServiceAccount", "Role", "RoleBinding")
        kubernetes_api.apply_manifests(*(one for one in manifests if one["kind"] in kinds))
        return namespace

    @pytest.fixture
    def worker(self, kubernetes_api, site):
        with http_client(kubernetes_api.service_account_kubeconfig(site, "peaktime-worker")) as caller:
            path = f"{ARGO}/namespaces/{site}/cronworkflows"
            wait_until("the role is in force", lambda: caller.get(path).is_success, seconds=20)
            yield caller

    def test_the_worker_may_do_this_and_nothing_else(self, worker, site):
        allowed = {
            (resource, verb)
            for group, resources in GROUPS.items()
            for resource in resources
            for verb in VERBS
            if may(worker, site, group, resource, verb)
        }
        assert allowed == ALLOWED

    def test_nothing_elsewhere(self, worker, kubernetes_api):
        with kubernetes_api.new_namespace("other") as other:
            assert not [pair for pair in ALLOWED if may(worker, other, "argoproj.io", *pair)]
            assert worker.get(f"{ARGO}/namespaces/{other}/cronworkflows").status_code == httpx.codes.FORBIDDEN
        assert worker.get(f"{ARGO}/cronworkflows").status_code == httpx.codes.FORBIDDEN

    def test_what_the_worker_does_can_be_done(self, worker, site):
        crons, runs = (f"{ARGO}/namespaces/{site}/{kind}" for kind in ("cronworkflows", "workflows"))
        query = {"fieldManager": "peaktime"}
        cron = worker.post(crons, json=cron_workflow("a"), params=query).raise_for_status().json()
        assert worker.get(crons, params={"watch": "true", "timeoutSeconds": "1"}).is_success
        change = cron_workflow("a") | {"spec": cron["spec"] | {"timezone": "UTC"}}
        applied = worker.patch(
            f"{crons}/a", content=json.dumps(change), params=query | {"force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
        )  # fmt: skip
        assert applied.raise_for_status().json()["spec"]["timezone"] == "UTC"
        owner = {key: cron[key] for key in ("apiVersion", "kind")} | {
            "name": "a", "uid": cron["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        run = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "a-1", "ownerReferences": [owner]},
            "spec": cron["spec"]["workflowSpec"],
        }
        worker.post(runs, json=run).raise_for_status()
        deletion = {"propagationPolicy": "Orphan", "preconditions": {"uid": cron["metadata"]["uid"]}}
        worker.request("DELETE", f"{crons}/a", json=deletion).raise_for_status()
        wait_until("the CronWorkflow is gone", lambda: worker.get(f"{crons}/a").status_code == 404, seconds=20)
        assert worker.get(f"{runs}/a-1").is_success
        assert worker.delete(f"{runs}/a-1").status_code == httpx.codes.FORBIDDEN
        patch = worker.patch(f"{runs}/a-1", json={}, headers={"Content-Type": "application/merge-patch+json"})
        assert patch.status_code == httpx.codes.FORBIDDEN

    @pytest.mark.usefixtures("worker")  # whose rights are in force then
    @pytest.mark.parametrize("role", ["gateway", "slack-sink", "importer"])
    def test_the_others_may_do_nothing(self, kubernetes_api, site, role):
        with http_client(kubernetes_api.service_account_kubeconfig(site, f"peaktime-{role}")) as caller:
            assert not [pair for pair in ALLOWED if may(caller, site, "argoproj.io", *pair)]
            assert not [verb for verb in VERBS if may(caller, site, "", "secrets", verb)]


@pytest.fixture(scope="module")
def compose_command(had):
    return had(compose.compose_command, f"Compose, {compose.which()}")


@pytest.fixture
def compose_config(compose_command):
    def config(*arguments, **environment):
        env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
        line = [
            *compose_command,
            "--project-directory",
            str(ROOT),
            "--file",
            str(ROOT / "docker-compose.yml"),
            *arguments,
        ]
        done = subprocess.run(
            [*line, "config", "--format", "json"],
            check=False,
            capture_output=True,
            text=True,
            env=env,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["services"]

    return config


class TestCompose:
    def test_it_is_taken(self, compose_config):
        assert set(compose_config()) == {"kafka", "topics", "worker", "gateway", "slack-sink", "importer"}
        services = compose_config("--profile", "stand-in")
        assert services["stand-in"]["command"] == ["stand-in", "--directory", "/cluster"]
        [port] = services["gateway"]["ports"]
        assert (port["host_ip"], port["published"]) == ("127.0.0.1", "8080")

    def test_a_real_cluster_is_two_variables(self, compose_config):
        given = {"PEAKTIME_CLUSTER": "kubernetes", "PEAKTIME_KUBECONFIG_FILE": "/somewhere/config"}
        worker = compose_config(**given)["worker"]
        assert worker["environment"]["PEAKTIME_CLUSTER"] == "kubernetes"
        assert worker["environment"]["PEAKTIME_KUBECONFIG"] == "/etc/peaktime/kubeconfig"
        mounted = {volume["target"]: volume["source"] for volume in worker["volumes"]}
        assert mounted["/etc/peaktime/kubeconfig"] == "/somewhere/config"
        assert compose_config()["worker"]["environment"]["PEAKTIME_KUBECONFIG"] == ""

    def test_its_services_work_together(self, compose_config, kafka, topic_prefix, tmp_path):
        """Each service as the file starts it, without containers: its command and environment, with other addresses."""
        services = compose_config("--profile", "stand-in")
        gateway, metrics = free_port(), free_port()
        folder = tmp_path / "cluster"
        running = []

        def start(name):
            paths = {one["target"]: one["source"] for one in services[name].get("volumes", ()) if one["type"] == "bind"}
            given = {key: paths.get(value, value) for key, value in services[name].get("environment", {}).items()}
            ours = {
                "PEAKTIME_KAFKA_BOOTSTRAP": kafka.bootstrap,
                "PEAKTIME_CLUSTER": f"directory:{folder}",
                "PEAKTIME_GATEWAY_HOST": "127.0.0.1",
                "PEAKTIME_GATEWAY_PORT": str(gateway),
                "PEAKTIME_METRICS_HOST": "127.0.0.1",
                "PEAKTIME_METRICS_PORT": str(metrics if name == "worker" else free_port()),
            }
            # What the file does not set stays as it would be there: a wrong name in it shows.
            env = {key: ours.get(key, value) for key, value in given.items()}
            env |= {"PEAKTIME_TOPIC_PREFIX": topic_prefix, "PEAKTIME_GROUP_PREFIX": topic_prefix.replace(".", "-")}
            command = [word.replace("/cluster", str(folder)) for word in services[name]["command"]]
            with (tmp_path / f"{name}.log").open("wb") as log:
                program = subprocess.Popen(
                    [sys.executable, "-m", "peaktime", *command],
                    cwd=tmp_path, env={"PATH": "", **env}, stdout=log, stderr=subprocess.STDOUT,
                )  # fmt: skip
            running.append(program)
            return program

        def said(name):
            return (tmp_path / f"{name}.log").read_text(errors="replace")

        def ready(port):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        try:
            assert start("topics").wait(60) == 0, said("topics")
            for name in ("worker", "gateway", "slack-sink"):
                start(name)
            for name, port in (("worker", metrics), ("gateway", gateway)):
                wait_until(f"the {name} is ready", lambda port=port: ready(port), seconds=60)
            body = json.dumps({"message": {"title": "Compose", "eventDate": "2027-03-04"}}).encode()
            url = f"http://127.0.0.1:{gateway}/create-infra-common-common"
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
                assert answer.status == 200
            wait_until(
                "the CronWorkflow is there",
                lambda: list(folder.glob("cronworkflow.*20270304.yaml")),
                seconds=60,
            )
            wait_until("it is told", lambda: "Compose" in said("slack-sink"), seconds=60)
        finally:
            for program in running:
                program.terminate()
            codes = [program.wait(30) for program in running]
        assert codes == [0, 0, 0, 0]
