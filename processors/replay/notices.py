"""The notifications and deliveries that should have been made, against those that were.

Pure. What is expected follows from the refolded decisions by ``peaktime.core.messages``. A notification's words depend
on version and zone, so they are compared where this version wrote them in the zone that is asked for; what it is about
always is. It keeps 16 bytes and two checksums for each notification. Must not: read the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

from peaktime.core.messages import (
    notification_of_dead_letter,
    notifications_of_calendar,
    notifications_of_entry,
    notifications_of_fact,
)
from processors.replay.log import LETTER_CODE, LETTER_MESSAGE, LETTER_STAGE, Place, Raw, place_of_letter
from processors.replay.refold import Row, Step
from schemas.headers import PRODUCER, producer_name
from schemas.records import Entry, Fact, Notification, NotificationKind

_BITS = 64
_MASK = (1 << _BITS) - 1
#: How words name the zone of an instant.
_ZONE = re.compile(r"\(([A-Z]\w*(?:/[\w+-]+)+|UTC|GMT)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification or delivery that is not as it should be.

    Attributes:
        notification_id: whose.
        kind: ``missing``, ``different``, ``in other words``, ``unexplained``, ``not delivered`` or
            ``delivery of nothing``.
        about: what the notification is about: its kind, thread and source.
        subject: key of the entry, or else the thread.
        source: the record that it is about, ``topic/partition/offset``.
        expected: as it should be; None if it should not be, or if that does not matter.
        found: as it is on the log; None if it is not there.
    """

    notification_id: str
    kind: str
    about: str
    subject: str = ""
    source: str = ""
    expected: Notification | None = None
    found: Notification | None = None

    def details(self) -> list[tuple[str, str, str]]:
        """The fields that differ, with the expected and the found value, where both sides are there."""
        if self.expected is None or self.found is None:
            return []
        pairs = ((f.name, getattr(self.expected, f.name), getattr(self.found, f.name)) for f in fields(self.expected))
        return [(name, _shown(ours), _shown(theirs)) for name, ours, theirs in pairs if ours != theirs]


@dataclass(slots=True)
class NoticeResult:
    """What the comparison of notifications and deliveries says.

    Attributes:
        equal: notifications that are as they should be.
        not_yet_read: those that announce had not reached, or that are about what replay had not read.
        older: those about decisions before the beginning of the log.
        delivered: notifications that reached people; None if no sink ever committed.
        not_yet_delivered: those that the sink had not reached.
        by_rules: those about decisions that were made by another version of the rules.
        differences: all others.
    """

    equal: int = 0
    not_yet_read: int = 0
    older: int = 0
    delivered: int | None = None
    not_yet_delivered: int = 0
    by_rules: list[Notice] = field(default_factory=list)
    differences: list[Notice] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def expected_of(row: Row, source: str, zone: str) -> tuple[Notification, ...]:
    """What announce makes of a row.

    Args:
        row: as its changelog has it.
        source: the record that it was decided about, ``topic/partition/offset``.
        zone: IANA zone of the words.
    """
    if isinstance(row, Entry):
        return notifications_of_entry(row, source, zone)
    if isinstance(row, Fact):
        return notifications_of_fact(row, source, zone)
    return notifications_of_calendar(row, source, zone)


def expected_of_letter(letter: Raw) -> Notification:
    """What announce makes of a dead letter."""
    place = place_of_letter(letter) or letter.place
    return notification_of_dead_letter(
        *place,
        code=letter.header(LETTER_CODE) or "",
        reason=letter.header(LETTER_MESSAGE) or "",
        stage=letter.header(LETTER_STAGE) or "",
        key=(letter.key or b"").decode(errors="replace"),
        log_time=letter.log_time,
    )


class Notices:
    """Give it the deliveries, the notifications, then what should have been told; then ask for the leftovers.

    Args:
        zone: IANA zone of the words.
        sink: by partition of notifications, how far the sink has read; empty if none ever did.
    """

    def __init__(self, zone: str, sink: Mapping[int, int]) -> None:
        self._zone, self._sink = zone, sink
        self._found: dict[bytes, int] = {}
        self._delivered: set[bytes] = set()
        self._claimed: set[bytes] = set()
        self._refused: set[Place] = set()
        self._pending: set[bytes] = set()
        self._letters: set[bytes] = set()
        self._twice: dict[bytes, str] = {}
        self._unequal: set[bytes] = set()
        self.result = NoticeResult(delivered=0 if sink else None)

    def delivery(self, notification_id: str) -> None:
        """Take a delivery."""
        self._delivered.add(_digest(notification_id))

    def delivery_gone(self, notification_id: str) -> None:
        """Take the tombstone of a delivery."""
        self._delivered.discard(_digest(notification_id))

    def refused(self, place: Place) -> None:
        """Take the place of a notification that the sink put aside as a dead letter."""
        self._refused.add(place)

    def waiting(self, row: Row, source: str) -> None:
        """Take a row that announce had not read: what it tells is not expected yet."""
        self._pending.update(_digest(note.notification_id) for note in expected_of(row, source, self._zone))

    def notification(self, raw: Raw, notification: Notification) -> None:
        """Take a notification as it stands on the log."""
        digest = _digest(notification.notification_id)
        sums = _checksum(notification), self._words(raw, notification)
        known = self._found.get(digest)
        if known is not None and (odd := _unlike(_unpacked(known), sums)):
            self._twice[digest] = odd
        self._found[digest] = _packed(sums)
        if digest in self._delivered:
            # One that came twice, as after a crash, reached people once.
            self.result.delivered = (self.result.delivered or 0) + (digest not in self._claimed)
            self._claimed.add(digest)
        elif raw.offset >= self._sink.get(raw.partition, 0):
            self.result.not_yet_delivered += bool(self._sink)
        elif raw.place not in self._refused and notification.kind is not NotificationKind.DEAD_LETTER:
            self._differs(notification, "not delivered")

    def letter(self, letter: Raw, *, reached: bool) -> None:
        """Take a dead letter; ``reached`` if announce has read it. A letter that came twice is told once."""
        notification = expected_of_letter(letter)
        digest = _digest(notification.notification_id)
        if digest not in self._letters:
            self._letters.add(digest)
            self._expect(notification, surely=reached)

    def step(self, step: Step, *, surely: bool) -> None:
        """Take a folded record; ``surely`` if the worker has folded it."""
        for row in step.changes.values():
            if row is not None:
                for notification in expected_of(row, str(step.place), self._zone):
                    self._expect(notification, surely=surely)

    def _expect(self, notification: Notification, *, surely: bool) -> None:
        digest = _digest(notification.notification_id)
        found = self._found.pop(digest, None)
        if found is None:
            if surely and digest not in self._pending:
                self._differs(notification, "missing")
            else:
                self.result.not_yet_read += 1
        elif notification.kind is not NotificationKind.DEAD_LETTER and (odd := self._odd(digest, found, notification)):
            self._unequal.add(digest)
            self._differs(notification, odd, expected=notification)
        else:
            self.result.equal += 1

    def _odd(self, digest: bytes, found: int, expected: Notification) -> str:
        return self._twice.get(digest) or _unlike(_unpacked(found), (_checksum(expected), _checksum_of_words(expected)))

    def _words(self, raw: Raw, notification: Notification) -> int:
        """A checksum of its words; 0 if another version wrote them, or in another zone."""
        if (raw.header(PRODUCER) or producer_name()) != producer_name():
            return 0
        said = (notification.text, *(one.value for one in notification.fields))
        zones = {zone for text in said for zone in _ZONE.findall(text)}
        return 0 if zones - {self._zone} else _checksum_of_words(notification)

    def _differs(self, notification: Notification, kind: str, expected: Notification | None = None) -> None:
        self.result.differences.append(
            Notice(
                notification_id=notification.notification_id,
                kind=kind,
                about=f"{notification.kind.lower()} in {notification.thread}, about {notification.source}",
                subject=notification.entry or notification.thread,
                source=notification.source,
                expected=expected if expected is not None or kind != "missing" else notification,
                found=notification if kind in ("unexplained", "not delivered") else None,
            ),
        )

    @property
    def leftovers(self) -> bool:
        """Whether some are not explained or not equal so far: read them again and give them to ``leftover``."""
        return bool(self._found or self._unequal)

    def leftover(
        self,
        notification: Notification,
        starts: Mapping[tuple[str, int], int],
        ends: Mapping[tuple[str, int], int],
    ) -> None:
        """Judge a notification of the second reading.

        Args:
            notification: any; those that were explained are passed over.
            starts: first offset that was read, by topic and partition.
            ends: offset at which reading stopped.
        """
        digest = _digest(notification.notification_id)
        if digest in self._unequal:
            self.result.differences = [_with_found(one, notification) for one in self.result.differences]
        if self._found.pop(digest, None) is None:
            return
        place, at = _place(notification.source)
        if at >= ends.get(place, at + 1):
            self.result.not_yet_read += 1
        elif at < starts.get(place, 0):
            self.result.older += 1
        else:
            self._differs(notification, "unexplained")

    def finish(
        self,
        starts: Mapping[tuple[str, int], int],
        judged: Callable[[str], bool],
        rules_since: Mapping[tuple[str, int], int],
        *,
        complete: bool,
    ) -> NoticeResult:
        """The result.

        Args:
            starts: first offset that was read, by topic and partition.
            judged: whether the row of a subject is equal, so that its whole history is known. Where the beginning of a
                partition is gone, nothing is said of other subjects: they may go back to it.
            rules_since: by topic and partition, the first offset that was decided by today's rules; others always were.
            complete: whether the log of notifications still has its beginning.
        """
        sound = []
        for notice in self.result.differences:
            place, at = _place(notice.source)
            if starts.get(place, 0) > 0 and not judged(notice.subject):
                self.result.older += 1
            elif at < rules_since.get(place, 0):
                self.result.by_rules.append(notice)
            else:
                sound.append(notice)
        if complete:
            sound += [
                Notice(notification_id=digest.hex(), kind="delivery of nothing", about="no such notification")
                for digest in self._delivered - self._claimed
            ]
        self.result.by_rules.sort(key=lambda n: (n.kind, n.about, n.notification_id))
        self.result.differences = sorted(sound, key=lambda n: (n.kind, n.about, n.notification_id))
        return self.result


def _place(source: str) -> tuple[tuple[str, int], int]:
    """Topic and partition, and offset, of a notification's source; -1 for what is no number."""
    before, _, offset = source.rpartition("/")
    topic, _, number = before.rpartition("/")
    return (topic, int(number) if number.isdecimal() else -1), int(offset) if offset.isdecimal() else -1


def _digest(notification_id: str) -> bytes:
    try:
        return bytes.fromhex(notification_id)
    except ValueError:
        return notification_id.encode()


def _with_found(notice: Notice, found: Notification) -> Notice:
    """The notice with what stands on the log, if it is about that, and if that is not what is expected."""
    same = notice.expected is not None and notice.notification_id == found.notification_id
    return replace(notice, found=found) if same and notice.expected != found else notice


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(f"{one.name}: {one.value}" for one in value)
    return str(value)


def _packed(sums: tuple[int, int]) -> int:
    about, words = sums
    return about << _BITS | words


def _unpacked(packed: int) -> tuple[int, int]:
    return packed >> _BITS, packed & _MASK


def _unlike(one: tuple[int, int], other: tuple[int, int]) -> str:
    """In which way two pairs of checksums differ; empty if they do not, or if their words cannot be compared."""
    if one[0] != other[0]:
        return "different"
    return "in other words" if one[1] and other[1] and one[1] != other[1] else ""


def _checksum_of_words(notification: Notification) -> int:
    return hash((notification.headline, notification.text, notification.fields, notification.link)) & _MASK or 1


def _checksum(notification: Notification) -> int:
    return (
        hash(
            (
                notification.kind,
                notification.severity,
                notification.thread,
                notification.target,
                notification.entry,
                notification.request_id,
                notification.decided_at,
                notification.source,
            ),
        )
        & _MASK
    )
