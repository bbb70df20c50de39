"""Logs of requests as months of use would make them, orderly and otherwise: the same seed gives the same bytes.

Most events are asked for, some changed, a few withdrawn; some requests come twice, late, out of order or without
their other half, and a few are refused, misplaced or no requests at all. Used by the tests of replay and by its bench.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from schemas.codec import Codec
from schemas.records import RequestAction, ScaleRequest

OUT, IN, DELETE = RequestAction.SCALE_OUT, RequestAction.SCALE_IN, RequestAction.DELETE
#: How often each kind of thing happens to an event, out of a thousand.
ONE_SIDED, OTHER_DATE, NO_END = 200, 40, 20
RETRIED, ASKED_AGAIN, CHANGED, OLD_REVISION, WITHDRAWN, ASKED_ANEW = 150, 50, 200, 30, 80, 25
LATE, REFUSED, TAKEN, BROKEN, MISPLACED = 30, 25, 8, 6, 5

BANDS = ("common", "common", "common", "morning", "night")
ORIGINS = ("pa",) * 17 + ("operator", "operator", "kr-holidays")
TITLES = ("봄 맞이 행사", "Flash sale", "가정의 달 특가", "Concert tickets", "신학기", "Payday", "한정판 출시")
OWNERS = ("kim", "lee", "park", "choi", "mina", "jun")


@dataclass(frozen=True, slots=True)
class Sent:
    """One record, with the time at which it reaches the log (UTC, whole milliseconds).

    ``request`` is what it says; None if it cannot be read. A misplaced record has a key that is not its target.
    """

    at: datetime
    key: bytes | None
    value: bytes | None
    request: ScaleRequest | None


def targets_of(seed: int, count: int) -> list[str]:
    """The names of a seed's targets; no other seed uses them."""
    return [f"s{seed}-t{number}" for number in range(count)]


def generate(
    seed: int,
    count: int,
    *,
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC),
    per_day: float = 10.0,
    targets: Sequence[str] = (),
) -> list[Sent]:
    """Exactly so many records, in the order in which they reach the log.

    Args:
        seed: what all chance comes from.
        count: how many records.
        start: log time of the first ones.
        per_day: records a day; the log spans ``count / per_day`` days.
        targets: names; ten of the seed's own if none are given.
    """
    chance = random.Random(seed)
    maker = _Maker(chance, seed, list(targets) or targets_of(seed, 10))
    span = timedelta(days=count / per_day)
    found: list[tuple[datetime, int, Sent]] = []
    numbers = itertools.count()
    # Of what is asked for near the end, the rest of the story is cut off, as in any log.
    while len(found) < count:
        story = maker.event(start + span * chance.random())
        found += [(sent.at, next(numbers), sent) for sent in story if sent.at < start + span]
    found.sort(key=lambda item: item[:2])
    return [sent for _, _, sent in found[:count]]


class _Maker:
    """Makes events; it remembers only what is needed to let two of them collide."""

    def __init__(self, chance: random.Random, seed: int, targets: list[str]) -> None:
        self._chance, self._seed, self._targets = chance, seed, targets
        self._codec = Codec()
        self._number = itertools.count()

    def _happens(self, in_a_thousand: int) -> bool:
        return self._chance.randrange(1000) < in_a_thousand

    def _later(self, at: datetime, hours: float) -> datetime:
        """Some time after, exponentially: most things follow soon."""
        later = at + timedelta(hours=self._chance.expovariate(1 / hours))
        return later.replace(microsecond=later.microsecond // 1000 * 1000)

    def _id(self) -> str:
        return f"{self._seed}-{next(self._number)}-{self._chance.getrandbits(48):012x}"

    def event(self, at: datetime) -> Iterator[Sent]:
        """Everything that is sent about one event, the first at a time."""
        chance = self._chance
        at = self._later(at, 0.1)
        starts = self._minute(at + timedelta(hours=2) + timedelta(days=chance.expovariate(1 / 12)))
        ends = starts + timedelta(minutes=chance.choice((30, 60, 90, 240, 720)))
        if self._happens(LATE):
            at = starts + (ends - starts) * chance.choice((0.2, 0.8, 3.0))
        asked = ScaleRequest(
            request_id=self._id(),
            action=OUT,
            target=chance.choice(self._targets),
            band=chance.choice(BANDS),
            event_date=starts.strftime("%Y-%m-%dT%H:%M"),
            starts_at=starts,
            ends_at=ends,
            title=chance.choice(TITLES),
            description=""
            if chance.random() < 0.6
            else "안내: 재고 확인 후 진행\nsecond line " + "." * chance.randrange(200),
            owner=chance.choice(OWNERS),
            origin=chance.choice(ORIGINS),
            requested_at=self._millis(at - timedelta(seconds=chance.random() * 30)),
            revision=None if chance.random() < 0.7 else 1,
        )
        if self._happens(REFUSED):
            yield self._sent(self._refusable(asked), at)
            return
        if self._happens(BROKEN):
            yield Sent(self._millis(at), asked.target.encode(), self._broken(asked), None)
            return
        yield from self._asked(asked, at)
        yield from self._sequel(asked, at)

    def _asked(self, asked: ScaleRequest, at: datetime) -> Iterator[Sent]:
        """The event is asked for: in one call with both times, or in PA's two calls, of which one may be missing."""
        if self._happens(NO_END):
            yield from self._tried(replace(asked, ends_at=None), at)
        elif self._happens(ONE_SIDED):
            yield from self._tried(replace(asked, ends_at=None), at)
            date = asked.event_date
            if self._happens(OTHER_DATE * 1000 // ONE_SIDED) and asked.ends_at is not None:
                date = asked.ends_at.strftime("%Y-%m-%dT%H:%M")
            half = replace(asked, request_id=self._id(), action=IN, starts_at=None, event_date=date)
            yield from self._tried(half, self._later(at, 0.02))
        else:
            yield from self._tried(asked, at)

    def _sequel(self, asked: ScaleRequest, at: datetime) -> Iterator[Sent]:
        """What happens to it afterwards: changes, an old revision, a withdrawal, and after that perhaps all anew."""
        last = asked
        while self._happens(CHANGED):
            at = self._later(at, 48)
            last = self._changed(last, at)
            yield from self._tried(last, at)
            if self._happens(OLD_REVISION * 1000 // CHANGED):
                old = replace(asked, request_id=self._id(), revision=asked.revision or 0)
                yield from self._tried(old, self._later(at, 1))
        if self._happens(TAKEN):
            other = replace(last, request_id=self._id(), title=last.title + " II", owner=last.owner + "-2")
            yield from self._tried(other, self._later(at, 24))
        if self._happens(WITHDRAWN):
            gone = self._later(at, 72)
            deletion = replace(
                last,
                request_id=self._id(),
                action=DELETE,
                starts_at=None,
                ends_at=None,
                requested_at=self._millis(gone),
            )
            yield from self._tried(deletion, gone)
            if self._happens(ASKED_ANEW * 1000 // WITHDRAWN):
                anew = self._later(gone, 12)
                # Every other one was asked for before it was withdrawn, and only arrives afterwards.
                asked_at = anew if self._happens(500) else gone - timedelta(minutes=5)
                yield self._sent(replace(last, request_id=self._id(), requested_at=self._millis(asked_at)), anew)

    def _tried(self, request: ScaleRequest, at: datetime) -> Iterator[Sent]:
        """A request as it arrives: once, or again with its own id or with a new one."""
        yield self._sent(request, at)
        again = at
        while self._happens(RETRIED):
            again = self._later(again, 0.005)
            yield self._sent(request, again)
        if self._happens(ASKED_AGAIN):
            yield self._sent(replace(request, request_id=self._id()), self._later(at, 1))

    def _changed(self, request: ScaleRequest, at: datetime) -> ScaleRequest:
        chance = self._chance
        values: dict[str, object] = {"request_id": self._id(), "requested_at": self._millis(at)}
        what = chance.randrange(5)
        if what == 0:
            values["title"] = chance.choice(TITLES) + "!"
        elif what == 1 and request.starts_at is not None:
            values["starts_at"] = request.starts_at + timedelta(minutes=chance.choice((-30, 5, 15)))
        elif what == 2 and request.ends_at is not None:
            values["ends_at"] = request.ends_at + timedelta(minutes=chance.choice((10, 60)))
        elif what == 3:
            values["band"] = chance.choice(BANDS)
        else:
            values["description"] = f"changed at {at:%H:%M}"
        if request.revision is not None:
            values["revision"] = request.revision + 1
        return replace(request, **values)  # type: ignore[arg-type]  # (the fields' types differ)

    def _refusable(self, asked: ScaleRequest) -> ScaleRequest:
        """A request that must be refused, for one of many reasons."""
        starts = asked.starts_at or asked.requested_at
        values: tuple[dict[str, object], ...] = (
            {"title": "Sale {{workflow.name}}"},
            {"owner": "kim\x07"},
            {"ends_at": starts - timedelta(minutes=5)},
            {"starts_at": starts + timedelta(seconds=30)},
            {"starts_at": starts + timedelta(days=700), "ends_at": None},
            {"event_date": asked.event_date + "+09:00"},
            {"starts_at": None},
            {"day": "someday"},
            {"request_id": ""},
            {"title": "x" * 301},
        )
        return replace(asked, **self._chance.choice(values))  # type: ignore[arg-type]  # (the fields' types differ)

    def _broken(self, asked: ScaleRequest) -> bytes | None:
        """Bytes that are no request."""
        whole = self._codec.encode(asked, "")
        return self._chance.choice(
            (
                whole[: self._chance.randrange(1, len(whole))],
                whole + b"\x00",
                b'{"requestId": "r1"}',
                b"\x00\x7f\xff\xff\xff" + whole[10:],
                b"\xc3\x01" + self._chance.randbytes(8) + whole[10:],
                self._chance.randbytes(60),
                None,
            ),
        )

    def _sent(self, request: ScaleRequest, at: datetime) -> Sent:
        key = request.target
        if self._happens(MISPLACED):
            key = self._chance.choice((*self._targets, "somebody-else"))
        return Sent(self._millis(at), key.encode(), self._codec.encode(request, ""), request)

    @staticmethod
    def _minute(instant: datetime) -> datetime:
        return instant.replace(second=0, microsecond=0)

    @staticmethod
    def _millis(instant: datetime) -> datetime:
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
