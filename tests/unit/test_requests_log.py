"""The generator of logs: the same seed gives the same bytes, and whatever can become of a request does."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from support.requests_log import generate, targets_of

from processors.replay.log import Raw, partition_of
from processors.replay.refold import Fate, Refold
from schemas.catalogue import load_catalogue
from schemas.codec import Codec

PARTITIONS = 6
CATALOGUE = load_catalogue("peaktime.").with_partitions(PARTITIONS)
START = datetime(2026, 1, 5, tzinfo=UTC)


def raws(sent):
    offsets = Counter()
    for one in sent:
        number = partition_of(one.key, PARTITIONS)
        millis = round(one.at.timestamp() * 1000)
        yield Raw(CATALOGUE.requests.name, number, offsets[number], millis, one.key, one.value)
        offsets[number] += 1


def test_the_same_seed_gives_the_same_records_and_another_gives_others():
    assert generate(3, 500) == generate(3, 500)
    assert generate(3, 500) != generate(4, 500)
    assert [len(generate(seed, count)) for seed, count in ((1, 1), (2, 77))] == [1, 77]


def test_the_records_are_in_order_and_span_the_days_that_are_asked_for():
    sent = generate(1, 2000, start=START, per_day=20)
    assert sent == sorted(sent, key=lambda one: one.at)
    assert START <= sent[0].at < START + timedelta(days=3)
    assert START + timedelta(days=97) < sent[-1].at < START + timedelta(days=100)
    assert {one.request.target for one in sent if one.request is not None} == set(targets_of(1, 10))


def test_everything_that_can_become_of_a_request_does():
    fates, dropped, codes = Counter(), 0, set()
    refold = Refold(Codec(), CATALOGUE)
    for raw in raws(generate(1, 9000, per_day=50)):
        step = refold.take(raw)
        fates[step.fate] += 1
        dropped += sum(row is None for row in step.changes.values())
        codes |= {step.code} if step.fate is Fate.DEAD_LETTERED else set()
        codes |= {row.verdict.code for row in step.changes.values() if row is not None}
    expected = {
        Fate.ACCEPTED, Fate.REPLACED, Fate.DUPLICATE, Fate.STALE, Fate.WITHDRAWN, Fate.REJECTED, Fate.FORWARDED,
        Fate.DEAD_LETTERED,
    }  # fmt: skip
    assert fates.keys() == expected
    assert fates[Fate.ACCEPTED] > 0.4 * sum(fates.values())
    assert dropped > 500
    assert {
        "same-id", "same-content", "revision", "withdrawn", "template", "control", "end-before-start", "not-minutes",
        "too-far", "event-date", "no-start", "day", "request-id", "too-long", "over", "taken", "magic", "truncated",
        "invalid", "unknown-schema", "empty",
    } <= codes  # fmt: skip
