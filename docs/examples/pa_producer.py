"""A producer of requests for PA's team: complete, and free of anything from peaktime but the schema file.

    pip install confluent-kafka fastavro
    python pa_producer.py --bootstrap kafka:9092 --schema ScaleRequest.avsc \
        --target infra --event-date 2026-05-04T09:00 --starts-at 2026-05-04T00:00Z --ends-at 2026-05-04T09:00Z \
        --title "Spring sale" --owner kim

It prints where the request stands on the log, or ends with 1: then send it again under the same --request-id.
"""

# ruff: noqa: INP001  (a stand-alone program)
# ruff: noqa: S310  (the address of the registry is the caller's own)

import argparse
import io
import json
import struct
import sys
import urllib.request
import uuid
from datetime import UTC, datetime

import fastavro
from confluent_kafka import KafkaException, Producer
from fastavro.schema import fingerprint, to_parsing_canonical_form

PROGRAM = "pa-example/1.0"


def single_object(schema: dict) -> bytes:
    """What stands before a record without a schema registry: a marker, and the schema's fingerprint."""
    return b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def registered(schema: dict, registry: str, topic: str) -> bytes:
    """What stands before a record with a schema registry: a zero, and the id that the registry gave the schema."""
    request = urllib.request.Request(
        f"{registry}/subjects/{topic}-value",
        json.dumps({"schema": json.dumps(schema)}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return struct.pack(">bI", 0, json.load(answer)["id"])


def encoded(schema: dict, frame: bytes, record: dict) -> bytes:
    """The bytes of a record."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), record)
    return frame + body.getvalue()


def producer(bootstrap: str, options: dict) -> Producer:
    """A producer that says that a record is written only if it is."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            # One target is one key, and must land in one partition whoever writes it. Java's clients do this already.
            "partitioner": "murmur2_random",
            "message.timeout.ms": 10_000,
            **options,
        },
    )


def send(client: Producer, topic: str, record: dict, value: bytes) -> str:
    """Write a request and wait until Kafka has it; where it stands, as topic/partition/offset."""
    reports = []
    headers = {
        "ce_specversion": "1.0",
        "ce_id": record["requestId"],
        "ce_source": "pa",
        "ce_type": "peaktime.v1.ScaleRequest",
        "ce_time": record["requestedAt"].isoformat(timespec="milliseconds"),
        "content-type": "application/avro",
        "peaktime-producer": PROGRAM,
    }
    client.produce(
        topic,
        key=record["target"],
        value=value,
        headers=headers,
        on_delivery=lambda error, message: reports.append((error, message)),
    )
    client.flush(15)
    if not reports:
        raise TimeoutError("no delivery report")
    error, message = reports[0]
    if error is not None:
        raise KafkaException(error)
    return f"{message.topic()}/{message.partition()}/{message.offset()}"


def instant(text: str) -> datetime:
    """An ISO 8601 time with its offset."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset: write 2026-05-04T09:00+09:00")
    return value.astimezone(UTC)


def arguments() -> argparse.Namespace:
    """What is asked for, and where to write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bootstrap", required=True, help="Kafka's host:port")
    parser.add_argument("--schema", required=True, type=argparse.FileType(encoding="utf-8"), help="ScaleRequest.avsc")
    parser.add_argument("--topic", default="peaktime.requests.v1")
    parser.add_argument("--registry", help="address of the schema registry, if there is one")
    parser.add_argument("--options", type=argparse.FileType(), help="JSON file of further client options: TLS, SASL")
    parser.add_argument("--action", default="SCALE_OUT", choices=["SCALE_OUT", "SCALE_IN", "DELETE"])
    parser.add_argument("--target", required=True)
    parser.add_argument("--day", default="common")
    parser.add_argument("--band", default="common")
    parser.add_argument("--event-date", required=True, help="the event's identity, local: 2026-05-04T09:00")
    parser.add_argument("--starts-at", type=instant)
    parser.add_argument("--ends-at", type=instant)
    parser.add_argument("--title", default="")
    parser.add_argument("--owner", default="")
    parser.add_argument("--revision", type=int)
    parser.add_argument("--request-id", default=None, help="repeat it to try again")
    return parser.parse_args()


def main() -> int:
    """Send one request."""
    asked = arguments()
    schema = json.load(asked.schema)
    record = {
        "requestId": asked.request_id or str(uuid.uuid4()),
        "action": asked.action,
        "target": asked.target,
        "day": asked.day,
        "band": asked.band,
        "eventDate": asked.event_date,
        "startsAt": asked.starts_at,
        "endsAt": asked.ends_at,
        "title": asked.title,
        "owner": asked.owner,
        "origin": "pa",
        "requestedAt": datetime.now(UTC),
        "revision": asked.revision,
    }
    try:
        frame = registered(schema, asked.registry, asked.topic) if asked.registry else single_object(schema)
        client = producer(asked.bootstrap, json.load(asked.options) if asked.options else {})
        position = send(client, asked.topic, record, encoded(schema, frame, record))
    except (KafkaException, OSError) as error:
        sys.stderr.write(f"not known to be written: {error}. Send it again with --request-id {record['requestId']}\n")
        return 1
    sys.stdout.write(f"{record['requestId']} {position}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
