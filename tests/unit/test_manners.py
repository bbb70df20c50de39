"""Manners towards the API server: each object waits for itself, and all of them when it is the server."""

import pytest

from processors.reconcile.manners import LONGEST_ASKED, LONGEST_BACKOFF, MANY, Manners, TokenBucket


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def manners(time):
    return Manners(qps=100, burst=100, clock=time, jitter=lambda _least, most: most)


def key(name):
    return "CronWorkflow", "peaktime", name


def fails(manners, name, **more):
    assert manners.begin(key(name)) == (True, 0.0)
    return manners.failed(key(name), **{"server": True, **more})


def test_a_bucket_gives_its_burst_at_once_and_its_rate_afterwards(time):
    bucket = TokenBucket(10, 3, time)
    assert [bucket.take(0.0) for _ in range(3)] == [(True, 0.0)] * 3
    had, wait = bucket.take(0.05)
    assert (had, round(wait, 3)) == (False, 0.1)
    had, wait = bucket.take(1.0)
    assert (had, round(wait, 3)) == (True, 0.1)
    time.now += 0.1
    assert round(bucket.take(1.0)[1], 3) == 0.1


def test_a_bucket_of_fewer_than_one_a_second_gives_one_in_that_time(time):
    bucket = TokenBucket(0.1, 1, time)
    assert bucket.take(1.0) == (True, 0.0)
    assert bucket.take(1.0) == (False, pytest.approx(10.0))
    time.now += 9.5
    assert bucket.take(1.0) == (True, pytest.approx(0.5))


def test_a_full_bucket_holds_no_more_than_its_burst(time):
    bucket = TokenBucket(10, 3, time)
    time.now += 3600
    assert [bucket.take(0.0)[0] for _ in range(4)] == [True, True, True, False]


def test_an_object_waits_longer_each_time_and_no_longer_than_the_cap(manners, time):
    pauses = []
    for _ in range(8):
        pauses.append(fails(manners, "a"))
        time.now += pauses[-1]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_BACKOFF, LONGEST_BACKOFF]
    assert manners.begin(key("a")) == (True, 0.0)
    manners.done(key("a"))
    assert fails(manners, "a") == 0.1


def test_jitter_only_shortens_a_backoff(time):
    manners = Manners(qps=100, burst=100, clock=time, jitter=lambda least, _most: least)
    assert fails(manners, "a") == 0.05


def test_another_object_is_not_held_up(manners):
    fails(manners, "a")
    assert manners.wait(key("a")) == pytest.approx(0.1)
    assert manners.begin(key("b")) == (True, 0.0)


def test_an_object_has_one_write_in_flight(manners):
    assert manners.begin(key("a")) == (True, 0.0)
    assert manners.wait(key("a")) > 0
    had, wait = manners.begin(key("a"))
    assert not had
    assert wait > 0
    manners.left(key("a"))
    assert manners.begin(key("a")) == (True, 0.0)


def test_what_the_server_asks_is_obeyed_for_that_object(manners):
    assert fails(manners, "a", after=3.0) >= 3.0
    assert manners.wait(key("a")) >= 3.0
    assert manners.wait(key("b")) == 0.0


def test_and_for_all_once_it_asks_it_of_two(manners, time):
    fails(manners, "a", after=3.0)
    fails(manners, "b", after=2.0)
    assert manners.wait(key("c")) == pytest.approx(2.0)
    time.now += 2.1
    assert manners.wait(key("c")) == 0.0


def test_it_is_obeyed_within_reason(manners):
    assert fails(manners, "a", after=1e6) == pytest.approx(LONGEST_ASKED * 1.1)


def test_when_it_is_the_server_one_at_a_time_is_tried_until_one_succeeds(manners, time):
    assert not any(manners.begin(key(f"slow{n}"))[1] for n in range(10))
    for n in range(10):
        manners.failed(key(f"slow{n}"), server=True)
    assert manners.in_trouble
    time.now += 10
    tried = 0
    for _ in range(1000):
        had = [n for n in range(10) if manners.begin(key(f"slow{n}"))[0]]
        assert len(had) <= 1
        for n in had:
            tried += 1
            manners.failed(key(f"slow{n}"), server=True)
        time.now += 0.02
    assert 10 <= tried <= 16
    time.now += 5
    assert manners.begin(key("slow0")) == (True, 0.0)
    manners.done(key("slow0"))
    assert not manners.in_trouble
    time.now += 5
    assert all(manners.begin(key(f"slow{n}"))[0] for n in range(10))


def test_one_that_never_failed_goes_before_those_that_always_do(manners, time):
    for n in range(MANY):
        fails(manners, f"stuck{n}")
    time.now += 60
    assert manners.begin(key("stuck0")) == (True, 0.0)
    manners.failed(key("stuck0"), server=True)
    assert manners.wait(key("new")) < manners.wait(key("stuck1"))


def test_a_refusal_is_no_trouble_of_the_server(manners):
    for n in range(20):
        fails(manners, f"bad{n}", server=False)
    assert not manners.in_trouble
    assert manners.begin(key("good")) == (True, 0.0)


def test_what_can_wait_leaves_half_of_the_calls_to_writes_and_all_of_them_in_trouble(time):
    manners = Manners(qps=1, burst=5, clock=time, jitter=lambda _least, most: most)
    assert [manners.spare() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert manners.spare() == pytest.approx(1.0)
    assert manners.begin(key("a")) == (True, 0.0)
    time.now += 60
    for n in range(MANY):
        fails(manners, f"slow{n}")
    time.now += 60
    assert manners.spare() > 0


def test_objects_that_nobody_writes_any_more_are_forgotten(manners, time):
    fails(manners, "old", after=1.0)
    time.now += 1000
    fails(manners, "new")
    assert set(manners._failing) == {key("new")}
    assert manners._asked == {}
