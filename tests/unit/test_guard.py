"""What the guard makes of records that no client of ours would write."""

import asyncio
from types import SimpleNamespace

import pytest

from peaktime.metrics import Metrics
from processors.guard import Guard
from schemas.catalogue import load_catalogue
from schemas.codec import Codec
from schemas.records import ScaleRequest


class FakeApp:
    """Takes what is emitted, and refuses what aiokafka refuses."""

    def __init__(self):
        self.emitted, self.done = [], []
        self.progress = SimpleNamespace(
            is_next=lambda _, offset: offset not in self.done,
            handled=lambda _, offset: self.done.append(offset),
        )
        self.consumer = SimpleNamespace(assignment=lambda: {"tp"})

    def emit(self, topic, *, key, value, headers):
        assert not (value is None and key is None), "Need at least one: key or value"
        self.emitted.append((topic, key, value, headers["peaktime-reason"]))


class Stream:
    """One record."""

    def __init__(self, key, value):
        self.message = SimpleNamespace(
            tp="tp", topic="requests.v1", partition=0, offset=0, key=key, value=value, headers=None, timestamp=0.0
        )

    async def events(self):
        yield SimpleNamespace(message=self.message)


@pytest.mark.parametrize(("key", "kept"), [(None, b""), (b"", b""), (b"infra", b"infra")])
def test_a_record_without_a_value_is_kept_whatever_its_key(key, kept):
    app, catalogue = FakeApp(), load_catalogue("")
    guard = Guard(
        app,
        Codec(None),
        catalogue.requests,
        ScaleRequest,
        dead_letters="letters",
        stage="fold",
        metrics=Metrics(),
    )
    asyncio.run(guard.run(Stream(key, None), [].append))
    assert app.emitted == [("letters", kept, None, b"empty")]
    assert app.done == [0]
