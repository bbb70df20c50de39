"""TLS, SASL and rights on a real broker: every role does its work, and nothing else."""

import json
import time

import httpx
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from support.engines.kafka import NativeKafka
from support.secure import ADMIN, PLAIN_USER, certificates, create_users, login, password, secured
from support.site import eventually, request, site

from peaktime import cli
from peaktime.errors import PublishError
from peaktime.settings import Settings
from producers.acls import default_principal
from producers.publish import Publisher
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import RequestAction, VerdictKind

CATALOGUE = load_catalogue()
WRONG = "hunter2-wrong"
NO_COORDINATOR_YET = {
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
}
COMMANDS = [
    ("request", "delete", "--target", "infra", "--event-date", "2026-05-04"),
    ("import-calendar", "--calendar", "kr", "--feed", "holidays:KR"),
    ("replay",),
    ("topics", "ensure"),
    ("topics", "ensure", "--acls"),
]
UNAUTHORIZED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


def user(role):
    return default_principal(role).removeprefix("User:")


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(had, certs):
    kafka = had(lambda say: NativeKafka(secured(certs), say), "Kafka with SASL_SSL and an authorizer")
    create_users(kafka, [ADMIN, *map(user, CATALOGUE.roles), "stranger"])
    yield kafka
    kafka.stop()


@pytest.fixture
def world(broker, certs, topic_prefix, tmp_path):
    """A site whose own look at the broker is the plain listener, and whose programs log in."""
    with site(
        broker.internal,
        topic_prefix,
        tmp_path,
        cluster=f"directory:{tmp_path / 'cluster'}",
        **login(broker, certs, ADMIN),
    ) as opened:
        (tmp_path / "cluster").mkdir()
        opened.admin = AdminClient({"bootstrap.servers": broker.internal})
        opened.acts_as = lambda role: login(broker, certs, user(role))
        yield opened


@pytest.fixture
def ensured(world):
    told = world.run("topics", "ensure", "--acls")
    assert told.returncode == 0, told.stderr
    assert f"User:peaktime-pa ALLOW WRITE on topic {world.catalogue.requests.name}: created" in told.stdout
    return world


def options_of(world, role, **more):
    return Settings.load(**{**world.acts_as(role), **more}).confluent_options()


def acls(world):
    found = []
    for kind in (ResourceType.TOPIC, ResourceType.GROUP):
        everything = AclBindingFilter(
            kind, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        found += [
            a
            for a in world.admin.describe_acls(everything).result(15)
            if a.name.startswith((world.prefix, world.settings["group_prefix"]))
        ]
    return {(a.principal, a.name, a.operation.name, a.permission_type.name) for a in found}


class TestEnsuringRights:
    def test_they_are_those_of_the_catalogue_and_given_once(self, ensured):
        groups = ensured.settings["group_prefix"]
        expected = {(default_principal(r), s.name, "WRITE", "ALLOW") for s in ensured.catalogue for r in s.writers}
        expected |= {(default_principal(r), s.name, "READ", "ALLOW") for s in ensured.catalogue for r in s.readers}
        expected |= {
            (default_principal(r), groups + g.name, "READ", "ALLOW") for g in CATALOGUE.groups for r in g.members
        }
        expected |= {
            (default_principal(r), groups + g.name, "DESCRIBE", "ALLOW") for g in CATALOGUE.groups for r in g.watchers
        }
        again = ensured.run("topics", "ensure", "--acls")
        assert again.returncode == 0, again.stderr
        assert acls(ensured) == expected
        assert f"rights: 0 created, {len(expected)} as they should be" in again.stdout

    def test_what_it_would_not_set_is_reported_and_left(self, ensured):
        spec = ensured.catalogue.outcomes
        odd = [
            AclBinding(
                ResourceType.TOPIC,
                spec.name,
                ResourcePatternType.LITERAL,
                "User:peaktime-pa",
                "*",
                AclOperation.WRITE,
                AclPermissionType.ALLOW,
            ),
            AclBinding(
                ResourceType.TOPIC,
                ensured.prefix,
                ResourcePatternType.PREFIXED,
                "User:stranger",
                "*",
                AclOperation.READ,
                AclPermissionType.ALLOW,
            ),
            AclBinding(
                ResourceType.TOPIC,
                "of-others",
                ResourcePatternType.LITERAL,
                "User:stranger",
                "*",
                AclOperation.READ,
                AclPermissionType.ALLOW,
            ),
        ]
        for done in ensured.admin.create_acls(odd).values():
            done.result(15)
        eventually(
            "the rights",
            lambda: len(acls(ensured) & {(a.principal, a.name, a.operation.name, "ALLOW") for a in odd}) == 2,
        )
        told = ensured.run("topics", "ensure", "--acls")
        assert (told.returncode, told.stderr.count("\n")) == (2, 2)
        assert f"User:peaktime-pa ALLOW WRITE on topic {spec.name}: the catalogue does not know it" in told.stderr
        assert f"User:stranger ALLOW READ on topic {ensured.prefix}*: the catalogue does not know it" in told.stderr
        assert "of-others" not in told.stderr
        assert ("User:peaktime-pa", spec.name, "WRITE", "ALLOW") in acls(ensured)

    def test_principals_can_be_said(self, world):
        told = world.run(
            "topics", "ensure", "--acls", "--principal", "auditor=User:kim", "--principal", "auditor=User:lee"
        )
        assert told.returncode == 0, told.stderr
        readers = {principal for principal, name, *_ in acls(world) if name == world.catalogue.requests.name}
        assert {"User:kim", "User:lee"} <= readers
        assert "User:peaktime-auditor" not in readers

    def test_who_may_not_give_rights_is_told_so(self, ensured):
        told = ensured.run("topics", "ensure", "--acls", **ensured.acts_as("operator"))
        assert told.returncode == 1
        assert told.stderr.count("\n") == 1
        assert "Use a Kafka user that may" in told.stderr

    def test_a_broker_without_an_authorizer_has_none_to_give(self, kafka, topic_prefix, monkeypatch, capsys):
        monkeypatch.setenv("PEAKTIME_KAFKA_BOOTSTRAP", kafka.bootstrap)
        monkeypatch.setenv("PEAKTIME_TOPIC_PREFIX", topic_prefix)
        assert cli.run(["topics", "ensure", "--acls"]) == 1
        assert "authorizer.class.name" in capsys.readouterr().err


class TestNothingElse:
    """The table of the catalogue, walked both ways: what it gives works, and what it does not give is refused."""

    @pytest.fixture
    def filled(self, ensured):
        ensured.places = {s.name: ensured.publisher.publish(s, "infra", b"x") for s in ensured.catalogue}
        for group in CATALOGUE.groups:
            # librdkafka's admin client crashes where it has to ask again because a coordinator is not there yet.
            eventually(
                "a coordinator",
                lambda name=ensured.settings["group_prefix"] + group.name: has_coordinator(ensured, name),
            )
        return ensured

    @pytest.mark.parametrize("role", CATALOGUE.roles)
    def test_a_role_may_do_what_the_catalogue_says(self, filled, role):
        wanted = {(s.short, "write") for s in filled.catalogue if role in s.writers}
        wanted |= {(s.short, "read") for s in filled.catalogue if role in s.readers}
        wanted |= {(g.name, "join") for g in CATALOGUE.groups if role in g.members}
        wanted |= {(g.name, "watch") for g in CATALOGUE.groups if role in {*g.members, *g.watchers}}
        options = options_of(filled, role)
        with Publisher(options, Codec(), filled.catalogue, 20) as publisher:
            may = {(s.short, "write") for s in filled.catalogue if may_write(publisher, s)}
        may |= {(s.short, "read") for s in filled.catalogue if may_read(options, filled.places[s.name])}
        admin, place = AdminClient(options), filled.places[filled.catalogue.requests.name]
        for group in CATALOGUE.groups:
            name = filled.settings["group_prefix"] + group.name
            if may_use(admin.list_consumer_group_offsets, ConsumerGroupTopicPartitions(name)):
                may.add((group.name, "watch"))
            if may_use(
                admin.alter_consumer_group_offsets,
                ConsumerGroupTopicPartitions(name, [TopicPartition(place.topic, place.partition, 1)]),
            ):
                may.add((group.name, "join"))
        assert may == wanted

    @pytest.mark.parametrize("role", CATALOGUE.roles)
    def test_no_role_changes_topics_or_rights(self, ensured, role):
        admin = AdminClient(options_of(ensured, role))
        more = NewTopic(f"{ensured.prefix}more", 1, 1)
        right = AclBinding(
            ResourceType.TOPIC,
            "*",
            ResourcePatternType.LITERAL,
            "User:x",
            "*",
            AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        asked = [
            *admin.create_topics([more]).values(),
            *admin.delete_topics([ensured.catalogue.requests.name]).values(),
            *admin.delete_records([TopicPartition(ensured.catalogue.requests.name, 0, 0)]).values(),
            *admin.create_acls([right]).values(),
        ]
        for one in asked:
            with pytest.raises(KafkaException) as caught:
                one.result(15)
            # The leader of a topic that is not shown cannot be found.
            assert caught.value.args[0].code() in {*UNAUTHORIZED, KafkaError._NOENT}

    @pytest.mark.usefixtures("ensured")
    def test_somebody_without_a_role_sees_nothing(self, broker, certs, topic_prefix):
        options = Settings.load(**login(broker, certs, "stranger")).confluent_options()
        assert not [
            name for name in AdminClient(options).list_topics(timeout=15).topics if name.startswith(topic_prefix)
        ]


def has_coordinator(world, group):
    consumer = Consumer({"bootstrap.servers": world.bootstrap, "group.id": group})
    try:
        return consumer.committed([TopicPartition(world.catalogue.requests.name, 0)], timeout=10)
    except KafkaException as error:
        if error.args[0].code() not in NO_COORDINATOR_YET:
            raise
        return None
    finally:
        consumer.close()


def may_write(publisher, spec):
    try:
        publisher.publish(spec, "infra", b"x")
    except PublishError as error:
        if "authorization failed" not in error.reason or "--acls" not in error.remedy:
            raise
        return False
    return True


def may_read(options, place):
    consumer = Consumer({**options, "group.id": "unused", "enable.auto.commit": False, "auto.offset.reset": "error"})
    try:
        if (refused := consumer.list_topics(place.topic, timeout=15).topics[place.topic].error) is not None:
            assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, refused
            return False
        consumer.assign([TopicPartition(place.topic, place.partition, place.offset)])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None or (message.error() and message.error().code() == KafkaError.GROUP_AUTHORIZATION_FAILED):
                continue
            if message.error():
                assert message.error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, message.error()
                return False
            return True
    finally:
        consumer.close()
    raise AssertionError(f"neither a record nor a refusal from {place}")


def may_use(ask, group):
    """Whether a group may be used so; whether its topic may be is another matter."""
    try:
        [answer] = ask([group]).values()
        refusals = [place.error.code() for place in answer.result(15).topic_partitions if place.error is not None]
    except KafkaException as error:
        refusals = [error.args[0].code()]
        if refusals[0] not in UNAUTHORIZED:
            raise
    return KafkaError.GROUP_AUTHORIZATION_FAILED not in refusals


class TestTheirWork:
    def test_the_whole_way_of_an_event_each_role_by_itself(self, ensured, tmp_path):
        world = ensured
        catalogue, cluster = world.catalogue, tmp_path / "cluster"
        worker = world.start("worker", **world.acts_as("worker"))
        gateway = world.start("gateway", gateway_port=0, **world.acts_as("gateway"))
        url = eventually(
            "the gateway's address",
            lambda: [line.split()[-1] for line in gateway.said().splitlines() if "listens on" in line],
        )[0]
        body = {"message": {"title": "봄 맞이 행사", "eventDate": request().event_date}}
        assert eventually("readiness", lambda: httpx.get(f"{url}/readyz").status_code == 200)
        answer = httpx.post(f"{url}/create-infra-common-common", json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        told = world.run(
            "request", "scale-out", "--target", "infra", "--event-date", "2099-01-01", "--title", "too far", "--owner", "kim", "--force",
            **world.acts_as("operator"),
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        wanted = request(starts_at=None, target="infra", title="of PA's own producer")
        with Publisher(options_of(world, "pa"), world.codec, catalogue, 20) as pa:
            pa.publish(catalogue.requests, wanted.target, wanted)
            pa.publish(catalogue.requests, wanted.target, b"no record at all")
        told = world.run("import-calendar", "--calendar", "kr", "--feed", "holidays:KR", **world.acts_as("importer"))
        assert told.returncode == 0, told.stderr
        eventually("the verdicts", lambda: verdicts(world) >= {VerdictKind.ACCEPTED, VerdictKind.REJECTED})
        eventually("a CronWorkflow", lambda: list(cluster.rglob("*.y*ml")))
        eventually("the calendar's state", lambda: world.latest(catalogue.calendar_states))
        eventually("the dead letter", lambda: world.read(catalogue.dead_letters))
        eventually("the notifications", lambda: len(world.read(catalogue.notifications)) >= 4)
        # Judged against what stands: the importer reads the calendar's state.
        told = world.run("import-calendar", "--calendar", "kr", "--feed", "holidays:KR", **world.acts_as("importer"))
        assert told.returncode == 0, told.stderr
        sink = world.start("slack-sink", "--until-idle", "5", **world.acts_as("sink"))
        assert sink.process.wait(120) == 0, sink.said()
        assert len(world.read(catalogue.deliveries)) >= 4
        assert worker.running
        assert worker.terminate() == 0
        told = world.run("replay", "--json", **world.acts_as("auditor"))
        assert told.returncode == 0, told.stdout + told.stderr
        assert json.loads(told.stdout)["events"]
        for program in world.programs:
            assert "hunter2" not in program.said()

    def test_an_operator_republishes_once_the_other_topic_is_given_and_an_auditor_never(self, ensured):
        copies = f"{ensured.prefix}copies"
        ensured.admin.create_topics([NewTopic(copies, 3, 1)])[copies].result(15)
        ensured.publish(request(), request(target="app"))
        command = ("republish", "requests", copies, "--all", "--json")
        refused = ensured.run(*command, **ensured.acts_as("operator"))
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
        assert "Give this user READ and WRITE on it" in refused.stderr
        rights = [
            AclBinding(
                ResourceType.TOPIC, copies, ResourcePatternType.LITERAL, default_principal(role), "*", operation,
                AclPermissionType.ALLOW,
            )
            for role, operation in (
                ("operator", AclOperation.READ), ("operator", AclOperation.WRITE), ("auditor", AclOperation.READ),
            )
        ]  # fmt: skip
        for done in ensured.admin.create_acls(rights).values():
            done.result(15)

        def sent():
            told = ensured.run(*command, **ensured.acts_as("operator"))
            return told.returncode == 0 and json.loads(told.stdout)

        assert eventually("the rights to hold", sent)["selected"] == 2
        # An auditor may look at what there would be to do, and no more.
        ensured.publish(request())
        assert ensured.run(*command, "--dry-run", **ensured.acts_as("auditor")).returncode == 0
        refused = ensured.run(*command, **ensured.acts_as("auditor"))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "authorization failed" in refused.stderr
        assert "READ and WRITE" in refused.stderr
        refused = ensured.run("republish", "requests", "requests", "--all", "--i-mean-it", **ensured.acts_as("auditor"))
        assert refused.returncode == 1
        assert "authorization failed" in refused.stderr

    def test_a_worker_that_may_not_says_what_and_goes_on_once_it_may(self, ensured, broker, certs):
        stranger = login(broker, certs, "stranger")
        worker = ensured.start("worker", **stranger)
        assert worker.process.wait(60) == 1
        assert "does not show it to this user. Run `peaktime topics ensure`, with --acls" in worker.said()
        told = ensured.run("topics", "ensure", "--acls", "--principal", "worker=User:stranger")
        # The rights of the role's usual principal are beyond the catalogue now.
        assert told.returncode == 2
        assert "User:peaktime-worker" in told.stderr
        ensured.start("worker", **stranger)
        ensured.publish(request())
        eventually("an entry", lambda: ensured.latest(ensured.catalogue.entries))

    def test_a_worker_without_its_group_ends_and_says_so(self, world, broker, certs):
        world.ensure_topics()
        all_topics = AclBinding(
            ResourceType.TOPIC,
            world.prefix,
            ResourcePatternType.PREFIXED,
            "User:stranger",
            "*",
            AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        for done in world.admin.create_acls([all_topics]).values():
            done.result(15)
        worker = world.start("worker", **login(broker, certs, "stranger"))
        assert worker.process.wait(90) == 70
        assert "Kafka refuses the worker" in worker.said()
        assert "GroupAuthorizationFailed" in worker.said()

    def test_publishing_works_again_once_the_right_is_given(self, ensured, broker, certs):
        options = Settings.load(**login(broker, certs, "stranger")).confluent_options()
        spec = ensured.catalogue.requests
        with Publisher(options, Codec(), ensured.catalogue, 5) as publisher:
            for _ in range(3):
                with pytest.raises(PublishError, match="authorization failed"):
                    publisher.publish(spec, "infra", b"x")
            told = ensured.run("topics", "ensure", "--acls", "--principal", "pa=User:stranger")
            assert told.returncode == 2, told.stderr
            eventually("it to be written", lambda: published(publisher, spec))


def published(publisher, spec):
    try:
        return publisher.publish(spec, "infra", b"x")
    except PublishError:
        return None


def verdicts(world):
    return {e.verdict.kind for e in world.records(world.catalogue.entries)}


class TestWrongLogins:
    """Whoever cannot log in says why in one line, without the secret."""

    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:3]))
    def test_commands_end_without_the_password(self, world, arguments):
        self.ends(world, arguments, "PEAKTIME_KAFKA_PASSWORD", kafka_password=WRONG)

    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:3]))
    def test_commands_end_without_an_authority(self, world, certs, arguments):
        self.ends(world, arguments, "PEAKTIME_KAFKA_CA_FILE", kafka_ca_file=certs.ca.parent / "none.pem")

    # Each waits out its patience, so not all of them again.
    @pytest.mark.parametrize("arguments", [COMMANDS[0], COMMANDS[3]], ids=lambda arguments: " ".join(arguments[:3]))
    def test_commands_end_with_the_authority_of_somebody_else(self, world, certs, arguments):
        self.ends(world, arguments, "PEAKTIME_KAFKA_CA_FILE", kafka_ca_file=certs.other_ca)

    @staticmethod
    def ends(world, arguments, named, **wrong):
        told = world.run(*arguments, publish_timeout=3, **wrong)
        assert told.returncode == 1
        last = told.stderr.splitlines()[-1]
        assert named in last
        assert last.startswith("peaktime: ")
        assert "Traceback" not in told.stderr
        assert "hunter2" not in told.stdout + told.stderr

    @pytest.mark.parametrize("arguments", [("worker",), ("slack-sink",)], ids=" ".join)
    def test_programs_wait_and_say_so(self, world, arguments):
        world.ensure_topics()
        program = world.start(*arguments, kafka_password=WRONG, log_level="debug")
        line = eventually(
            "what is wrong", lambda: [line for line in program.said().splitlines() if "PEAKTIME_KAFKA_PASSWORD" in line]
        )[0]
        assert "SASL authentication error" in line
        time.sleep(1)
        assert program.running
        assert program.terminate() == 0
        assert "hunter2" not in program.said()

    def test_the_gateway_says_so_when_it_is_asked(self, world):
        world.ensure_topics()
        gateway = world.start("gateway", gateway_port=0, publish_timeout=2, kafka_password=WRONG)
        url = eventually(
            "its address", lambda: [line.split()[-1] for line in gateway.said().splitlines() if "listens on" in line]
        )[0]
        answers = [
            httpx.get(f"{url}/readyz", timeout=30),
            httpx.post(
                f"{url}/create-infra-common-common",
                json={"message": {"title": "x", "eventDate": request().event_date}},
                timeout=30,
            ),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert "authentication" in answer.text.lower()
        assert "PEAKTIME_KAFKA_PASSWORD" in gateway.said()
        assert "hunter2" not in gateway.said() + "".join(answer.text for answer in answers)


def test_the_password_is_in_no_log_even_at_debug_and_with_plain(world):
    world.ensure_topics()
    world.settings |= {
        "kafka_sasl_mechanism": "PLAIN",
        "kafka_username": PLAIN_USER,
        "kafka_password": password(PLAIN_USER),
        "log_level": "debug",
    }
    everything = AclBinding(
        ResourceType.TOPIC,
        world.prefix,
        ResourcePatternType.PREFIXED,
        f"User:{PLAIN_USER}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )
    groups = AclBinding(
        ResourceType.GROUP,
        world.settings["group_prefix"],
        ResourcePatternType.PREFIXED,
        f"User:{PLAIN_USER}",
        "*",
        AclOperation.ALL,
        AclPermissionType.ALLOW,
    )
    for done in world.admin.create_acls([everything, groups]).values():
        done.result(15)
    worker = world.start("worker")

    def asked():
        told = world.run("request", "delete", "--target", "infra", "--event-date", "2026-05-04")
        return told if told.returncode == 0 else None

    # A broker says that it has a right before it goes by it.
    told = eventually("the right to ask", asked)
    eventually("an entry", lambda: world.latest(world.catalogue.entries))
    sink = world.start("slack-sink", "--until-idle", "2")
    assert sink.process.wait(120) == 0
    assert worker.terminate() == 0
    shown = world.run("settings").stdout
    assert "(hidden)" in shown
    assert "hunter2" not in shown + told.stderr + worker.said() + sink.said()


@pytest.mark.parametrize(("protocol", "mechanism"), [("SSL", None), ("SASL_PLAINTEXT", "SCRAM-SHA-256")])
def test_the_other_protocols(had, certs, topic_prefix, tmp_path, protocol, mechanism):
    kafka = had(lambda say: NativeKafka(secured(certs, protocol, authorizer=False), say), f"Kafka with {protocol}")
    try:
        if mechanism:
            create_users(kafka, [ADMIN], mechanism)
        (tmp_path / "cluster").mkdir()
        settings = {
            **login(kafka, certs, ADMIN),
            "kafka_security_protocol": protocol,
            "cluster": f"directory:{tmp_path / 'cluster'}",
        }
        if mechanism:
            settings["kafka_sasl_mechanism"] = mechanism
        with site(kafka.internal, topic_prefix, tmp_path, **settings) as opened:
            assert opened.run("topics", "ensure").returncode == 0
            worker = opened.start("worker")
            told = opened.run("request", "delete", "--target", "infra", "--event-date", "2026-05-04")
            assert told.returncode == 0, told.stderr
            entry = eventually("an entry", lambda: list(opened.latest(opened.catalogue.entries).values()))[0]
            assert entry.verdict.request.action is RequestAction.DELETE
            assert worker.terminate() == 0
    finally:
        kafka.stop()
