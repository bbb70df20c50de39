"""What is said of a Kafka client that cannot connect, and what logs in as whom."""

import logging
import ssl

import faust
import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest
from confluent_kafka import KafkaError, KafkaException
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from support.secure import certificates

from peaktime import kafka, logs
from peaktime.errors import SettingsError
from peaktime.kafka import LOGIN, RIGHTS, TLS, Trouble, unauthorized
from peaktime.settings import Settings
from processors.driver import Link, credentials_of

REFUSED = KafkaError(
    KafkaError._AUTHENTICATION,
    "sasl_ssl://b:1/bootstrap: SASL authentication error: invalid credentials (after 326ms in state AUTH_REQ)",
)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT, "Local: Message timed out")


class TestTrouble:
    def test_the_reason_is_what_the_client_complained_of(self):
        told = []
        trouble = Trouble(lambda *said: told.append(said))
        trouble(REFUSED)
        reason, remedy = trouble.explain(KafkaException(TIMED_OUT), "wait")
        assert reason == "sasl_ssl://b:1/bootstrap: SASL authentication error: invalid credentials"
        assert remedy == LOGIN
        assert told == [(reason, remedy)]

    def test_tls(self):
        trouble = Trouble()
        trouble(KafkaError(KafkaError._SSL, "SSL handshake failed"))
        assert trouble.explain(TIMED_OUT, "wait") == ("SSL handshake failed", TLS)

    def test_without_a_complaint_it_is_what_the_caller_was_told(self):
        assert Trouble().explain(KafkaException(TIMED_OUT), "wait") == ("Local: Message timed out", "wait")
        assert Trouble().explain(RuntimeError("no report"), "wait") == ("no report", "wait")

    def test_an_old_complaint_is_about_something_else(self, monkeypatch):
        trouble = Trouble()
        trouble(REFUSED)
        later = kafka.monotonic() + 3600
        monkeypatch.setattr(kafka, "monotonic", lambda: later)
        assert trouble.explain(TIMED_OUT, "wait") == ("Local: Message timed out", "wait")

    def test_what_the_broker_says_wins(self):
        trouble = Trouble()
        trouble(REFUSED)
        denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Broker: Topic authorization failed")
        assert unauthorized(denied)
        assert trouble.explain(denied, "wait") == ("Broker: Topic authorization failed", RIGHTS)
        large = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "too large")
        assert trouble.explain(large, "make it smaller") == ("too large", "make it smaller")

    def test_a_fatal_error_is_remembered_for_what_it_purges(self):
        trouble = Trouble()
        trouble(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "no producer id", fatal=True))
        purged = KafkaError(KafkaError._PURGE_QUEUE, "Local: Purged in queue")
        assert trouble.explain(purged, "wait") == ("no producer id", RIGHTS)

    def test_a_client_is_asked_for_what_it_has_not_said_yet(self):
        trouble = Trouble()

        class Client:
            def poll(self, _seconds):
                trouble(REFUSED)

        assert trouble.explain(TIMED_OUT, "wait", Client())[1] == LOGIN

    def test_others_hear_of_everything(self):
        heard = []
        trouble = Trouble(also=heard.append)
        trouble(TIMED_OUT)
        trouble(REFUSED)
        assert heard == [TIMED_OUT, REFUSED]


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certs"))


def login(protocol, **more):
    return Settings.load(kafka_security_protocol=protocol, kafka_username="kim", kafka_password="hunter2", **more)


class TestFaustLogsInLikeEverybody:
    def test_every_protocol(self, certs):
        tls = login("SSL", kafka_ca_file=certs.ca).kafka_tls()
        assert credentials_of(None, "kim", "hunter2", None) is None
        assert credentials_to_aiokafka_auth(credentials_of(None, None, None, tls)) == {
            "security_protocol": "SSL",
            "ssl_context": tls,
        }
        for context, protocol in ((None, "SASL_PLAINTEXT"), (tls, "SASL_SSL")):
            assert credentials_to_aiokafka_auth(credentials_of("SCRAM-SHA-512", "kim", "hunter2", context)) == {
                "security_protocol": protocol,
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "kim",
                "sasl_plain_password": "hunter2",
                "ssl_context": context,
            }

    def test_its_repr_has_no_secret(self):
        credentials = credentials_of("SCRAM-SHA-512", "kim", "hunter2", None)
        assert isinstance(credentials, faust.SASLCredentials)
        link = Link(
            bootstrap="b:1", session=1, heartbeat=1, commit_interval=1, partitions=1, credentials=credentials,
        )  # fmt: skip
        assert "hunter2" not in f"{link!r} {credentials!r} {vars(link) if hasattr(link, '__dict__') else ''}"


class TestTls:
    def test_none_without_tls(self, certs):
        assert Settings.load(kafka_ca_file=certs.ca).kafka_tls() is None
        assert login("SASL_PLAINTEXT").kafka_tls() is None

    def test_the_authority_is_trusted_and_names_are_checked(self, certs):
        context = login("SASL_SSL", kafka_ca_file=certs.ca).kafka_tls()
        assert [dict(pair for part in one["subject"] for pair in part) for one in context.get_ca_certs()] == [
            {"commonName": "peaktime tests"}
        ]
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    @pytest.mark.parametrize("content", [None, b"no certificate"])
    def test_an_authority_that_is_none_is_named(self, tmp_path, content):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        settings = login("SASL_SSL", kafka_ca_file=path)
        for use in (settings.kafka_tls, settings.confluent_options):
            with pytest.raises(SettingsError) as caught:
                use()
            assert caught.value.thing == "PEAKTIME_KAFKA_CA_FILE"
            assert str(path) in caught.value.reason


def test_login_requests_are_logged_at_no_level(capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure(Settings.load(log_level="debug"))
        plain = SaslAuthenticateRequest(b"\0kim\0hunter2").prepare({36: (0, 1)})
        assert "hunter2" in repr(plain), "nothing is to be hidden any more"
        logging.getLogger("aiokafka.conn").debug("Request to %s: %s", "b", plain)
        logging.getLogger("aiokafka.client").debug("seen")
    finally:
        root.handlers, root.level = handlers, level
    err = capsys.readouterr().err
    assert "seen" in err
    assert "hunter2" not in err
