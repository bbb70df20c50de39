"""The engines do what tests of ours rely on them for."""

import json
import subprocess

import httpx
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from support.engines import build
from support.engines.errors import EngineUnavailableError
from support.engines.kubernetes import http_client
from support.engines.process import wait_until

ARGO = "/apis/argoproj.io/v1alpha1"


def create_topic(bootstrap, name):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(timeout=20)


def produce(bootstrap, topic, value):
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 0})
    errors = []
    producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def consume(bootstrap, topic, count):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, timeout=30)
        return [message.value() for message in messages if message.error() is None]
    finally:
        consumer.close()


def cron_workflow(name):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": name},
        "spec": {
            "schedules": ["0 9 4 5 *"],
            "timezone": "Asia/Seoul",
            "workflowSpec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {"duration": "1"}}]},
        },
    }


def workflow_of(owner, name):
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
        key: owner["metadata"][key] for key in ("name", "uid")
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "ownerReferences": [reference | {"controller": True}]},
        "spec": owner["spec"]["workflowSpec"],
    }


class TestRecipes:
    @pytest.mark.parametrize(
        ("recipe", "stated"),
        [
            (build.KAFKA, f"<kafka.version>{build.KAFKA_VERSION}</kafka.version>"),
            (build.REGISTRY, f"axonops-schema-registry v{build.REGISTRY_VERSION}\n"),
            (build.ETCD, f"go.etcd.io/etcd/server/v3 v{build.ETCD_VERSION}\n"),
            (build.APISERVER, f"k8s.io/kubernetes v{build.KUBERNETES_VERSION}\n"),
        ],
    )
    def test_the_version_we_say_is_the_version_we_build(self, recipe, stated):
        texts = [path.read_text() for path in (build.RECIPES / recipe.folder).iterdir()]
        assert any(stated in text for text in texts)

    def test_a_missing_tool_is_told_with_the_next_step(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PEAKTIME_ENGINE_CACHE", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(EngineUnavailableError, match=r"kafka .* `mvn` is not on the PATH. Next: install Maven"):
            build.build(build.KAFKA, say=lambda _: None)

    def test_a_failed_build_is_told_with_command_and_log_and_can_be_repeated(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PEAKTIME_ENGINE_CACHE", str(tmp_path / "cache"))
        tool = tmp_path / "mvn"
        tool.write_text("#!/bin/sh\necho no such jar\nexit 3\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        with pytest.raises(
            EngineUnavailableError,
            match=r"(?s)`mvn .* ended with code 3.*no such jar\nNext: read .*\.log",
        ):
            build.build(build.KAFKA, say=lambda _: None)
        tool.write_text('#!/bin/sh\nfor word; do out="${word#-DoutputDirectory=}"; done\nmkdir "$out"\n')
        assert build.build(build.KAFKA, say=lambda _: None).is_dir()


class TestKafka:
    def test_what_is_produced_can_be_consumed(self, kafka, topic_prefix):
        topic = f"{topic_prefix}requests"
        create_topic(kafka.bootstrap, topic)
        produce(kafka.bootstrap, topic, b"one")
        assert consume(kafka.bootstrap, topic, 1) == [b"one"]

    def test_topics_are_not_made_by_typing_errors(self, kafka, topic_prefix):
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 2000})
        errors = []
        producer.produce(f"{topic_prefix}unknown", b"one", on_delivery=lambda error, _: errors.append(error.name()))
        producer.flush(30)
        assert errors[0] in {"_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART", "_MSG_TIMED_OUT"}

    def test_a_broker_that_was_killed_comes_back_with_its_data(self, own_kafka, topic_prefix):
        topic = f"{topic_prefix}requests"
        create_topic(own_kafka.bootstrap, topic)
        produce(own_kafka.bootstrap, topic, b"before")
        own_kafka.kill()
        own_kafka.restart()
        produce(own_kafka.bootstrap, topic, b"after")
        assert consume(own_kafka.bootstrap, topic, 2) == [b"before", b"after"]

    def test_a_paused_broker_answers_nothing_until_it_is_resumed(self, own_kafka):
        admin = AdminClient({"bootstrap.servers": own_kafka.bootstrap})
        admin.list_topics(timeout=20)
        own_kafka.pause()
        try:
            with pytest.raises(KafkaException):
                admin.list_topics(timeout=1)
        finally:
            own_kafka.resume()
        assert admin.list_topics(timeout=20).brokers


class TestKubernetes:
    def test_orphaning_keeps_the_workflow_and_takes_its_owner_away(self, kubernetes_api, namespace):
        objects = f"{ARGO}/namespaces/{namespace}"
        owner = kubernetes_api.call("POST", f"{objects}/cronworkflows", cron_workflow("peaktime-create-infra"))
        kubernetes_api.call("POST", f"{objects}/workflows", workflow_of(owner, "peaktime-create-infra-1"))

        kubernetes_api.call("DELETE", f"{objects}/cronworkflows/peaktime-create-infra", propagationPolicy="Orphan")

        wait_until(
            "the CronWorkflow is gone",
            lambda: not kubernetes_api.exists(f"{objects}/cronworkflows/peaktime-create-infra"),
            seconds=20,
        )
        kept = kubernetes_api.call("GET", f"{objects}/workflows/peaktime-create-infra-1")
        assert "ownerReferences" not in kept["metadata"]

    def test_who_has_no_rights_is_refused(self, kubernetes_api, namespace):
        kubernetes_api.apply_manifests(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}},
            namespace=namespace,
        )
        kubeconfig = kubernetes_api.service_account_kubeconfig(namespace, "nobody")
        with http_client(kubeconfig) as nobody:
            answer = nobody.get(f"{ARGO}/namespaces/{namespace}/cronworkflows")
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert f"system:serviceaccount:{namespace}:nobody" in answer.json()["message"]

    def test_a_role_gives_a_user_just_what_it_says(self, kubernetes_api, namespace, tmp_path):
        (tmp_path / "role.yaml").write_text(f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
subjects: [{{kind: User, name: peaktime, apiGroup: rbac.authorization.k8s.io}}]
roleRef: {{kind: Role, name: reader, apiGroup: rbac.authorization.k8s.io}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {namespace}}}
rules: [{{apiGroups: [argoproj.io], resources: [cronworkflows], verbs: [list]}}]
""")
        kubernetes_api.apply_manifests(tmp_path)
        objects = f"{ARGO}/namespaces/{namespace}/cronworkflows"
        with http_client(kubernetes_api.kubeconfig("peaktime")) as peaktime:
            wait_until("the role is in force", lambda: peaktime.get(objects).is_success, seconds=20)
            assert peaktime.post(objects, json=cron_workflow("any")).status_code == httpx.codes.FORBIDDEN
        with http_client(kubernetes_api.kubeconfig("nobody")) as nobody:
            assert nobody.get(objects).status_code == httpx.codes.FORBIDDEN

    def test_an_api_server_that_was_killed_comes_back_with_its_objects(self, kubernetes_api, namespace):
        objects = f"{ARGO}/namespaces/{namespace}/cronworkflows"
        kubernetes_api.call("POST", objects, cron_workflow("kept"))
        kubernetes_api.kill_apiserver()
        try:
            with pytest.raises(httpx.TransportError):
                kubernetes_api.call("GET", objects)
        finally:
            kubernetes_api.restart_apiserver()
        assert kubernetes_api.exists(f"{objects}/kept")

    def test_a_status_can_be_written_with_the_object(self, kubernetes_api, namespace):
        """As Argo's controller does, there being no subresource."""
        path = f"{ARGO}/namespaces/{namespace}/cronworkflows"
        kubernetes_api.call("POST", path, cron_workflow("fired"))
        patch = {
            "status": {"lastScheduledTime": "2026-05-04T00:00:00Z", "succeeded": 1, "failed": 0, "phase": "Active"},
        }
        kubernetes_api.call("PATCH", f"{path}/fired", patch, content_type="application/merge-patch+json")
        assert kubernetes_api.call("GET", f"{path}/fired")["status"]["succeeded"] == 1


class TestSchemaRegistry:
    def test_a_schema_is_given_back_by_its_id(self, schema_registry, topic_prefix):
        schema = '{"type":"record","name":"One","fields":[{"name":"a","type":"string"}]}'
        subject = f"{schema_registry.url}/subjects/{topic_prefix}requests-value"
        registered = httpx.post(f"{subject}/versions", json={"schema": schema}).raise_for_status().json()["id"]
        found = httpx.get(f"{schema_registry.url}/schemas/ids/{registered}").raise_for_status().json()
        assert found["schema"].replace(" ", "") == schema

    def test_a_breaking_change_is_refused(self, schema_registry, topic_prefix):
        subject = f"{topic_prefix}requests-value"
        config = {"compatibility": "FULL_TRANSITIVE"}
        httpx.put(f"{schema_registry.url}/config/{subject}", json=config).raise_for_status()
        versions = f"{schema_registry.url}/subjects/{subject}/versions"
        one, other = (
            json.dumps({"type": "record", "name": "One", "fields": [{"name": field, "type": "string"}]})
            for field in ("a", "b")
        )
        assert httpx.post(versions, json={"schema": one}).is_success
        assert httpx.post(versions, json={"schema": other}).status_code == httpx.codes.CONFLICT


def test_helm_is_the_version_we_say(helm_binary):
    done = subprocess.run([helm_binary, "version", "--short"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"v{build.HELM_VERSION}")
