"""A worker that is stopped and started while records come does nothing anew that it has done: no crash, no repeating."""

import threading
from collections import Counter

import pytest
from support.site import eventually
from support.whole_way import CATALOGUE, TARGET, asked, elsewhere, world

from processors.guard import FORWARDED_FROM
from processors.replay.reader import LogReader

REQUESTS = CATALOGUE.requests.name
LETTERS = CATALOGUE.dead_letters.name


class Sender(threading.Thread):
    """Sends a misplaced record and one that cannot be read, again and again; each is a record of its own."""

    def __init__(self, made):
        super().__init__()
        self._made, self._over, self.sent = made, threading.Event(), 0

    def run(self):
        while not self._over.wait(0.01):
            self.sent += 1
            misplaced = self._made.codec.encode(asked(f"m{self.sent}", self.sent), REQUESTS)
            self._made.put(REQUESTS, TARGET.encode(), misplaced, partition=elsewhere(TARGET))
            self._made.put(REQUESTS, TARGET.encode(), b"\x7fnonsense %d" % self.sent)

    def stop(self):
        self._over.set()
        self.join(10)


def records(made, topic):
    with LogReader(made.options) as reader:
        return list(reader.read(reader.spans([topic])))


def handled(made):
    return len(records(made, LETTERS))


@pytest.mark.slow
def test_what_was_forwarded_or_buried_is_not_forwarded_or_buried_again(tmp_path):
    # Table records that take long to be acknowledged: a commit goes on at almost any time.
    slow = {"PEAKTIME_FAILPOINTS": "stall:0.4"}
    with world(tmp_path) as made:
        sender = Sender(made)
        sender.start()
        try:
            for _ in range(2):
                before = handled(made)
                with made.worker(**slow):
                    eventually("thirty more", lambda before=before: handled(made) >= before + 30)
        finally:
            sender.stop()
        with made.worker(**slow):
            made.until_quiet(within=90)
        copies = Counter(dict(raw.headers)[FORWARDED_FROM] for raw in records(made, REQUESTS) if raw.headers)
        letters = Counter(raw.value for raw in records(made, LETTERS))
        for name, counted in (("forwarded", copies), ("buried", letters)):
            again = {what: times for what, times in counted.items() if times > 1}
            assert (name, len(counted), again) == (name, sender.sent, {})
