"""A broker that is spoken to over TLS and SASL, with an authorizer that lets nobody do what no ACL allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.engines.kafka import NativeKafka

ADMIN = "admin"
#: Known to the broker by its configuration, and only for the mechanism PLAIN.
PLAIN_USER = "plain"
_MECHANISMS = {"SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512, "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256}
_SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority of a day, and what it signed.

    Attributes:
        ca: its certificate.
        broker: key and certificate of a broker on loopback, as Kafka reads them.
        other_ca: an authority that signed nothing of this.
    """

    ca: Path
    broker: Path
    other_ca: Path


def certificates(folder: Path) -> Certificates:
    """Fresh ones."""
    ca_key, ca = _authority("peaktime tests")
    _, other = _authority("somebody else")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder("127.0.0.1", ca.subject, key)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found = Certificates(folder / "ca.pem", folder / "broker.pem", folder / "other-ca.pem")
    found.ca.write_bytes(ca.public_bytes(pem))
    found.other_ca.write_bytes(other.public_bytes(pem))
    found.broker.write_bytes(secret + certificate.public_bytes(pem) + ca.public_bytes(pem))
    return found


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return key, (
        _builder(name, subject, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def secured(certs: Certificates, protocol: str = "SASL_SSL", *, authorizer: bool = True) -> dict[str, str]:
    """Properties of a broker whose clients speak this protocol. Its other listeners stay plain: the tests' own way in."""
    properties = {
        "listener.security.protocol.map": f"CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN," + ",".join(_MECHANISMS),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certs.broker),
        **{f"listener.name.client.{name.lower()}.sasl.jaas.config": _SCRAM_MODULE for name in _MECHANISMS},
        "listener.name.client.plain.sasl.jaas.config": (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f'user_{PLAIN_USER}="{password(PLAIN_USER)}";'
        ),
    }
    if authorizer:
        properties |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Whoever comes by a plain listener has no name: the broker itself, and the tests' own look at it.
            "super.users": f"User:ANONYMOUS;User:{ADMIN}",
            "allow.everyone.if.no.acl.found": "false",
        }
    return properties


def password(user: str) -> str:
    """The password of a user: easy to find in what must not show it."""
    return f"{user}-hunter2-{user}"


def create_users(kafka: NativeKafka, users: Iterable[str], mechanism: str = "SCRAM-SHA-512") -> None:
    """Let these users log in by SCRAM."""
    admin = AdminClient({"bootstrap.servers": kafka.internal})
    info = ScramCredentialInfo(_MECHANISMS[mechanism], 4096)
    wanted = [UserScramCredentialUpsertion(user, info, password(user).encode()) for user in users]
    for done in admin.alter_user_scram_credentials(wanted).values():
        done.result(15)


def login(kafka: NativeKafka, certs: Certificates, user: str, **more: object) -> dict[str, object]:
    """The settings of a process that logs in as this user."""
    return {
        "kafka_bootstrap": kafka.bootstrap,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_username": user,
        "kafka_password": password(user),
        "kafka_ca_file": certs.ca,
        **more,
    }
