"""`peaktime doctor` and `peaktime prune` on a real Kafka, registry and API server: each trouble is a line, and only it."""

import json
import os
import pty
import re
import subprocess
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from support.engines.kafka import NativeKafka
from support.engines.process import free_port
from support.rights import grant, role
from support.secure import ADMIN, certificates, create_users, login, secured
from support.site import PEAKTIME, eventually, request, site

from peaktime.core.runs import CRON_WORKFLOW, ENTRY, FIRES_AT, MANAGED_BY, OWNER, TARGET, TITLE
from schemas.catalogue import load_catalogue

ARGO = "/apis/argoproj.io/v1alpha1"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workflowtemplates.argoproj.io"
PROFILES = """
zone: Asia/Seoul
bands:
  common: {from: "09:00", to: "18:00"}
defaults:
  serviceAccount: runner
profiles:
  - target: infra
    days: [common]
    bands: [common]
    level: 1
    scaleOut: {stages: [[{service: app, workflowTemplate: app-start, template: scale}]]}
    scaleIn: {stages: [[{service: app, workflowTemplate: app-stop, template: scale}]]}
"""


def template(name, holds="scale"):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": name},
        "spec": {"templates": [{"name": holds, "suspend": {"duration": "1"}}]},
    }


def cron(name, *, entry="infra/pa/2020-01-01", ours=True):
    labels = {MANAGED_BY: "peaktime", TARGET: "infra"} if ours else {}
    notes = {ENTRY: entry, TITLE: "An old event", OWNER: "kim", FIRES_AT: "2020-01-01T00:00:00Z"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {"name": name, "labels": labels, "annotations": notes},
        "spec": {"schedules": ["0 9 1 1 *"], "timezone": "Asia/Seoul", "workflowSpec": {}},
    }


@pytest.fixture(scope="module")
def world(kafka, kubernetes_api, schema_registry, tmp_path_factory):
    """Everything there and alive: topics, schemas, worker, sink, templates, rights."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "profiles.yaml").write_text(PROFILES, encoding="utf-8")
    (folder / "calendars.yaml").write_text("calendars: []\n", encoding="utf-8")
    with (
        kubernetes_api.new_namespace() as namespace,
        site(
            kafka.bootstrap,
            f"t{uuid.uuid4().hex[:8]}.",
            folder,
            namespace=namespace,
            kubeconfig=kubernetes_api.kubeconfig("peaktime"),
            schema_registry_url=schema_registry.url,
            profiles=folder / "profiles.yaml",
            calendars=folder / "calendars.yaml",
        ) as opened,
    ):
        opened.api, opened.namespace = kubernetes_api, namespace
        opened.crons = f"{ARGO}/namespaces/{namespace}/cronworkflows"
        grant(kubernetes_api, namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
        opened.apply = lambda *manifests: kubernetes_api.apply_manifests(*manifests, namespace=namespace)
        opened.apply(template("app-start"), template("app-stop"), account)
        opened.ensure_topics()
        opened.start("worker")
        opened.start("slack-sink")
        eventually("all to be well", lambda: well(opened), 60)
        yield opened


def looked(world, **settings):
    done = world.run("doctor", "--json", **settings)
    assert done.returncode in (0, 2), done.stderr
    assert done.stderr == ""
    lines = json.loads(done.stdout)["lines"]
    assert done.returncode == (2 if any(line["status"] == "wrong" for line in lines) else 0)
    assert all(line["next"] for line in lines if line["status"] != "ok")
    return lines


def wrong(world, **settings):
    """What is wrong: thing → what was found and what to do."""
    found = [line for line in looked(world, **settings) if line["status"] == "wrong"]
    return {line["about"]: f"{line['found']}. {line['next']}" for line in found}


class Well(dict):
    """What is wrong, true if nothing is: so that what is waited for in vain shows."""

    def __bool__(self):
        return not len(self)


def well(world):
    return Well(wrong(world))


def test_all_is_well(world):
    lines = looked(world)
    assert not [line for line in lines if line["status"] == "wrong"]
    said = {line["about"]: line for line in lines if line["status"] == "ok"}
    assert said["topics"]["found"] == "9, each with 12 partitions, as the catalogue says"
    for part in ("fold", "announce", "slack-sink"):
        assert said[f"consumer group {world.settings['group_prefix']}{part}"]["found"].startswith("alive, ")
    assert said[f"schema registry {world.settings['schema_registry_url']}"]["found"] == "8 subjects, FULL_TRANSITIVE"
    assert said[f"API server {world.api.url}"]["found"].endswith("as peaktime")
    assert "served in argoproj.io/v1alpha1" in said["Argo's kinds"]["found"]
    assert said[f"namespace {world.namespace}"]["found"] == "peaktime may do all that a worker does"
    assert said["WorkflowTemplates"]["found"] == "the 2 templates that 1 profiles name are there"
    assert {"clock of the API server", "clock of the schema registry"} <= set(said)
    assert said["problems"]["found"] == "none is open on the log"
    assert said["CronWorkflows"]["found"].endswith("the log explains all of them")
    # A worker may look at no service account, and this broker asks for no rights.
    assert {line["about"] for line in lines if line["status"] == "warning"} == {"service accounts", "rights in Kafka"}


def test_in_words(world):
    done = world.run("doctor")
    assert done.returncode == 0, done.stdout
    *lines, total = done.stdout.splitlines()
    assert all(re.match(r"(ok     |warning)  \S", line) for line in lines)
    assert total.startswith("0 wrong, 2 warnings, ")


def test_an_operator_sees_the_service_accounts(world):
    admin = {"kubeconfig": world.api.kubeconfig()}
    assert [line["status"] for line in looked(world, **admin) if line["about"] == "service accounts"] == ["ok"]
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/runner"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    world.api.call("DELETE", path)
    try:
        assert list(wrong(world, **admin)) == [f"service account {world.namespace}/runner"]
    finally:
        world.apply(account)


class TestKafka:
    @pytest.fixture
    def other(self, world):
        """Settings with other topics, registered and not created yet, for the groups that are alive."""
        prefix = f"t{uuid.uuid4().hex[:8]}."
        told = world.run("schemas", "register", topic_prefix=prefix)
        assert told.returncode == 0, told.stderr
        return load_catalogue(prefix), {"topic_prefix": prefix}

    def create(self, world, catalogue, **partitions):
        new = [
            NewTopic(s.name, partitions.get(s.short, s.partitions), 1, config=s.configs())
            for s in catalogue
            if partitions.get(s.short) != 0
        ]
        client = AdminClient({"bootstrap.servers": world.bootstrap})
        for done in client.create_topics(new).values():
            done.result(30)

    def test_a_topic_that_is_missing(self, world, other):
        catalogue, settings = other
        self.create(world, catalogue, facts=0)
        found = eventually("one line", lambda: one_of(wrong(world, **settings)))
        assert found == {f"topic {catalogue.facts.name}": "is not there. Run `peaktime topics ensure`"}

    def test_a_topic_with_another_partition_count(self, world, other):
        catalogue, settings = other
        self.create(world, catalogue, entries=3)
        found = eventually("one line", lambda: one_of(wrong(world, **settings)))
        assert list(found) == [f"topic {catalogue.entries.name}"]
        assert "partitions is 3, the catalogue says 12" in next(iter(found.values()))

    def test_nobody_in_the_groups(self, world):
        found = wrong(world, group_prefix=f"g{uuid.uuid4().hex[:8]}-")
        assert [about.rpartition("-")[2] for about in found] == ["fold", "announce"]
        assert all("Start `peaktime worker`" in said for said in found.values())

    def test_kafka_away(self, world):
        address = f"127.0.0.1:{free_port()}"
        assert list(wrong(world, kafka_bootstrap=address)) == [f"Kafka at {address}"]


def one_of(found):
    """A new topic is shown by and by: nothing while there is more than one line."""
    return found if len(found) == 1 else None


class TestRegistry:
    def test_it_is_down(self, world):
        url = f"http://127.0.0.1:{free_port()}"
        found = wrong(world, schema_registry_url=url)
        assert list(found) == [f"schema registry {url}"]
        assert "PEAKTIME_SCHEMA_REGISTRY_URL" in found[f"schema registry {url}"]

    def test_a_subject_that_is_too_lenient(self, world):
        subject = world.catalogue.requests.subject
        registry = world._registry
        registry._ask("PUT", f"/config/{subject}", {"compatibility": "NONE"})
        try:
            found = wrong(world)
            assert list(found) == [f"subject {subject}"]
            assert "its compatibility is NONE" in found[f"subject {subject}"]
            assert world.run("schemas", "register").returncode == 0
            assert well(world)
        finally:
            registry._ask("PUT", f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"})


class TestCluster:
    def test_the_api_server_cannot_be_reached(self, world, tmp_path):
        text = world.api.kubeconfig("peaktime").read_text("utf-8")
        elsewhere = f"https://127.0.0.1:{free_port()}"
        (tmp_path / "kubeconfig").write_text(text.replace(world.api.url, elsewhere), encoding="utf-8")
        assert list(wrong(world, kubeconfig=tmp_path / "kubeconfig")) == [f"API server {elsewhere}"]

    def test_it_does_not_know_this_identity(self, world, tmp_path):
        text = world.api.kubeconfig("peaktime").read_text("utf-8")
        text = re.sub(r'"token": "[^"]*"', '"token": "hunter2"', text)
        (tmp_path / "kubeconfig").write_text(text, encoding="utf-8")
        found = wrong(world, kubeconfig=tmp_path / "kubeconfig")
        assert list(found) == [f"API server {world.api.url}"]
        assert "does not know this identity" in found[f"API server {world.api.url}"]

    def test_a_right_is_missing(self, world):
        less = role()
        less["metadata"] = {"name": "less", "namespace": world.namespace}
        for rule in less["rules"]:
            if rule["resources"] == ["cronworkflows"]:
                rule["verbs"].remove("delete")
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "less", "namespace": world.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "less"},
            "subjects": [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        world.apply(less, binding)
        nobody = world.api.kubeconfig("nobody")
        found = eventually("one line", lambda: one_of(wrong(world, kubeconfig=nobody)))
        assert list(found) == [f"namespace {world.namespace}"]
        assert found[f"namespace {world.namespace}"].startswith("nobody may not delete cronworkflows. Apply the Role")

    def test_a_namespace_that_is_not_there(self, world, tmp_path):
        found = wrong(world, kubeconfig=world.api.kubeconfig(), namespace="nowhere", calendars=tmp_path / "x")
        assert "is not there" in found["namespace nowhere"]

    def test_a_workflow_template_is_missing_and_one_lacks_its_template(self, world):
        path = f"{ARGO}/namespaces/{world.namespace}/workflowtemplates"
        world.api.call("DELETE", f"{path}/app-start")
        world.apply(template("app-stop", holds="other"))
        try:
            found = wrong(world)
            assert list(found) == [f"WorkflowTemplate {world.namespace}/{name}" for name in ("app-start", "app-stop")]
            start, stop = found.values()
            assert start.startswith("is not there, but profiles name it (infra-common-common)")
            assert stop.startswith("has no template scale")
        finally:
            world.apply(template("app-start"), template("app-stop"))
        assert well(world)

    def test_a_definition_is_away(self, world):
        world.api.call("DELETE", CRD)
        try:
            found = eventually("one line", lambda: one_of(wrong(world)))
            assert list(found) == ["kind workflowtemplates"]
            assert "Install Argo Workflows" in found["kind workflowtemplates"]
        finally:
            eventually("the definition to be gone", lambda: not world.api.exists(CRD))
            world.api._create_argo_definitions()
            world.apply(template("app-start"), template("app-stop"))
        eventually("all to be well", lambda: well(world))


class TestPruning:
    @pytest.fixture
    def stray(self, world):
        """An object of ours that nothing explains, and a run that it had."""
        name = f"peaktime-create-stray-{uuid.uuid4().hex[:6]}"
        world.apply(cron(name))
        owner = world.api.call("GET", f"{world.crons}/{name}")["metadata"]
        reference = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "CronWorkflow",
            "name": name,
            "uid": owner["uid"],
            "controller": True,
        }
        labels = {MANAGED_BY: "peaktime", TARGET: "infra", CRON_WORKFLOW: name}
        run = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": f"{name}-1577836800", "labels": labels, "ownerReferences": [reference]},
            "spec": {},
            "status": {"phase": "Succeeded"},
        }
        world.apply(run)
        yield name
        if world.api.exists(f"{world.crons}/{name}"):
            world.api.call("DELETE", f"{world.crons}/{name}")
            eventually("it to be gone", lambda: not world.api.exists(f"{world.crons}/{name}"))

    def run_of(self, world, name):
        return f"{ARGO}/namespaces/{world.namespace}/workflows/{name}-1577836800"

    def test_it_is_listed_shown_and_removed_and_its_run_stays(self, world, stray):
        found = wrong(world)
        assert list(found) == [f"CronWorkflow {world.namespace}/{stray}"]
        (said,) = found.values()
        assert "the log has no entry infra/pa/2020-01-01" in said
        assert f"`peaktime prune {stray} --namespace {world.namespace}`" in said
        problem = f"unexplained/{stray}"
        eventually("the problem", lambda: [one for one in looked(world) if one["about"] == problem])
        done = world.run("prune", stray, "--namespace", world.namespace, "--yes")
        assert done.returncode == 0, done.stderr
        for words in (
            "infra/pa/2020-01-01",
            "An old event",
            "kim",
            "2020-01-01T00:00:00Z",
            f"{stray}-1577836800 (Succ",
        ):
            assert words in done.stdout
        eventually("it to be gone", lambda: not world.api.exists(f"{world.crons}/{stray}"))
        eventually(
            "its run to be nobody's",
            lambda: "ownerReferences" not in world.api.call("GET", self.run_of(world, stray))["metadata"],
        )
        assert well(world)

    def test_without_a_terminal_it_asks_nobody_and_removes_nothing(self, world, stray):
        done = world.run("prune", stray)
        assert done.returncode == 1
        assert "Give --yes" in done.stderr
        assert world.api.exists(f"{world.crons}/{stray}")
        assert "deletionTimestamp" not in world.api.call("GET", f"{world.crons}/{stray}")["metadata"]

    def test_whoever_says_no_keeps_it(self, world, stray):
        status, said = answered(world, stray, "n")
        assert status == 1
        assert "nothing is removed" in said
        assert world.api.exists(f"{world.crons}/{stray}")

    def test_what_changed_meanwhile_stays(self, world, stray):
        def change():
            world.api.call(
                "PATCH",
                f"{world.crons}/{stray}",
                {"spec": {"suspend": True}},
                content_type="application/merge-patch+json",
            )

        status, said = answered(world, stray, "y", before=change)
        assert status == 1
        assert "has changed since it was shown" in said
        assert world.api.exists(f"{world.crons}/{stray}")

    def test_whoever_says_yes_removes_it(self, world, stray):
        status, said = answered(world, stray, "y")
        assert status == 0, said
        eventually("it to be gone", lambda: not world.api.exists(f"{world.crons}/{stray}"))
        assert world.api.exists(self.run_of(world, stray))

    def test_what_the_log_explains_is_refused_and_so_is_all_that_is_named_with_it(self, world, stray):
        world.publish(request(starts_at=datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=3)))

        def explained():
            return [o for o in world.api.call("GET", world.crons)["items"] if o["metadata"]["name"] != stray]

        (obj, *_) = eventually("a CronWorkflow", explained)
        name, (target, origin, event_date) = obj["metadata"]["name"], obj["metadata"]["annotations"][ENTRY].split("/")
        done = world.run("prune", name, stray, "--yes")
        assert done.returncode == 1
        remedy = f"peaktime request delete --target {target} --event-date {event_date} --origin {origin}"
        assert f"the log explains it: it belongs to {target}/{origin}/{event_date}" in done.stderr
        assert remedy in done.stderr
        assert world.api.exists(f"{world.crons}/{name}")
        assert world.api.exists(f"{world.crons}/{stray}")
        told = world.run(*remedy.split()[1:])
        assert told.returncode == 0, told.stderr
        eventually("it to be gone", lambda: not world.api.exists(f"{world.crons}/{name}"))

    def test_somebody_elses_and_nothing_are_refused(self, world):
        world.apply(cron("nightly-report", ours=False))
        done = world.run("prune", "nightly-report", "nothing", "--yes")
        assert done.returncode == 1
        assert (
            f"CronWorkflow {world.namespace}/nightly-report is not removed: it does not carry our label" in done.stderr
        )
        assert "there is no CronWorkflow nothing" in done.stderr
        assert world.api.exists(f"{world.crons}/nightly-report")
        assert well(world)


def answered(world, name, answer, before=lambda: None):
    """Prune at a terminal: wait for the question, answer it; the exit status and all that was said."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PEAKTIME, "prune", name],
        env=world.env(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = ""
    try:
        while "[y/N]" not in said:
            said += os.read(ours, 4096).decode()
        before()
        os.write(ours, f"{answer}\n".encode())
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # the other side is closed
                break
            if not more:
                break
            said += more.decode()
        return process.wait(60), said
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


@pytest.fixture(scope="module")
def guarded(had, tmp_path_factory):
    """A broker that asks for logins and rights, with topics, and nobody alive."""
    folder = tmp_path_factory.mktemp("guarded")
    certs = certificates(folder)
    broker = had(lambda say: NativeKafka(secured(certs), say), "Kafka with SASL_SSL and an authorizer")
    try:
        create_users(broker, [ADMIN, "peaktime-worker", "peaktime-operator", "stranger"])
        with site(
            broker.internal,
            "peaktime.",
            folder,
            cluster=f"directory:{folder / 'cluster'}",
            **login(broker, certs, ADMIN),
        ) as opened:
            opened.acts_as = lambda name: login(broker, certs, name)
            told = opened.run("topics", "ensure", "--acls")
            assert told.returncode == 0, told.stderr
            yield opened
    finally:
        broker.stop()


class TestRightsInKafka:
    def lines(self, world, check, **settings):
        return [(line["status"], line["found"]) for line in looked(world, **settings) if line["check"] == check]

    def test_who_may_look_sees_that_all_are_there(self, guarded):
        ((status, found),) = self.lines(guarded, "rights in Kafka")
        assert status == "ok"
        assert found.endswith("as the catalogue says")

    def test_who_is_another_here_has_rights_missing(self, guarded):
        done = guarded.run("doctor", "--principal", "sink=User:lee")
        assert done.returncode == 2
        assert "wrong    rights in Kafka: missing: User:lee ALLOW WRITE on topic peaktime.deliveries.v1" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr

    def test_a_worker_may_not_look_and_is_not_shown_others_topics(self, guarded):
        worker = guarded.acts_as("peaktime-worker")
        ((status, found),) = self.lines(guarded, "rights in Kafka", **worker)
        assert status == "warning"
        assert "may not look" in found
        topics = self.lines(guarded, "topics", **worker)
        assert [status for status, _ in topics] == ["warning", "warning"]
        assert "peaktime.deliveries.v1: not shown to this user" in topics[0][1]
        ((status, found),) = self.lines(guarded, "consumer group peaktime-slack-sink", **worker)
        assert (status, found) == ("warning", "this user may not look at it")

    def test_a_wrong_password_is_said_and_not_shown(self, guarded):
        settings = {**guarded.acts_as("peaktime-operator"), "kafka_password": "hunter2-wrong"}
        done = guarded.run("doctor", **settings)
        assert done.returncode == 2
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("wrong")]
        assert "PEAKTIME_KAFKA_PASSWORD" in line
        assert "hunter2" not in done.stdout + done.stderr
