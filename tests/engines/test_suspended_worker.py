"""A worker that is stopped with writes queued, while the other one goes on: when it wakes, it undoes nothing."""

import random
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.fault_proxy import FaultProxy
from support.rights import grant
from support.site import eventually, minute, request, site

from processors.driver import EXIT_UNSAFE
from schemas.records import RequestAction

pytestmark = pytest.mark.slow

WORKER = ("worker", "--only", "fold", "--only", "reconcile")
CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
TARGETS = [f"svc{number}" for number in range(24)]
EVENTS, CHANGES = 80, 100
SESSION = 3
PROFILES = "zone: Asia/Seoul\nbands: {common: {from: '09:00', to: '18:00'}}\nprofiles:\n" + "".join(
    f"""  - target: {target}
    days: [common]
    bands: [common]
    level: 1
    scaleOut: {{stages: [[{{service: app, workflowTemplate: app-start, template: scale}}]]}}
    scaleIn: {{stages: [[{{service: app, workflowTemplate: app-stop, template: scale}}]]}}
"""
    for target in TARGETS
)


class Same:
    """Whether two mappings are the same; shows where they are not."""

    def __init__(self, found, wanted):
        keys = found.keys() | wanted.keys()
        self._different = {k: (found.get(k), wanted.get(k)) for k in keys if found.get(k) != wanted.get(k)}

    def __bool__(self):
        return not self._different

    def __repr__(self):
        return f"{len(self._different)} different (found, wanted): {list(self._different.items())[:5]}"


class Asking:
    """What is asked for, and what should be there for it."""

    def __init__(self, world, dice):
        self._world, self._dice = world, dice
        self._first = minute(timedelta(days=2))
        self._asked_at = datetime.now(UTC)
        self.last = {}

    def event(self, number):
        """A new event, apart from all others of its target."""
        starts = self._first + timedelta(hours=2 * number)
        return {
            "target": TARGETS[number % len(TARGETS)],
            "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
            "starts_at": starts,
            "ends_at": starts + timedelta(minutes=30),
        }

    def change(self, number):
        """Withdraw an event, move it by a few minutes, or ask for it once more as something else."""
        fields = self.event(number)
        if self._dice.random() < 0.4:
            fields["action"] = RequestAction.DELETE
        elif self._dice.random() < 0.5:
            fields["starts_at"] += timedelta(minutes=self._dice.randrange(1, 20))
        # Each a moment after the one before: what is asked for in the same millisecond as a withdrawal is stale.
        self._asked_at += timedelta(milliseconds=5)
        return request(**{**fields, "title": f"changed {self._dice.random()}", "requested_at": self._asked_at})

    def ask(self, *requests):
        for one in requests:
            self.last[f"{one.target}/pa/{one.event_date}"] = one
        self._world.publish(*requests)

    def change_some(self, count):
        self.ask(*(self.change(self._dice.randrange(EVENTS)) for _ in range(count)))

    def wanted(self):
        """By entry, the request that each CronWorkflow should show."""
        return {key: one.request_id for key, one in self.last.items() if one.action is not RequestAction.DELETE}

    def shown(self):
        """By entry, the request that its CronWorkflow shows; two for one entry are shown as such."""
        found = {}
        for obj in self._world.api.call("GET", CRONS.format(self._world.namespace))["items"]:
            notes = obj["metadata"]["annotations"]
            key = notes["peaktime.io/entry"]
            found[key] = "two" if key in found else notes["peaktime.io/request"]
        return found

    def as_wanted(self):
        return Same(self.shown(), self.wanted())


@pytest.fixture(scope="module")
def world(kafka, kubernetes_api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suspended")
    profiles = folder / "profiles.yaml"
    profiles.write_text(PROFILES, encoding="utf-8")
    with kubernetes_api.new_namespace() as namespace, FaultProxy(kubernetes_api.url, kubernetes_api.ca_file) as proxy:
        grant(kubernetes_api, namespace)
        config = kubernetes_api.kubeconfig("peaktime")
        with site(
            kafka.bootstrap,
            f"t{proxy.port}.",
            folder,
            namespace=namespace,
            kubeconfig=config,
            profiles=profiles,
            session_timeout=SESSION,
        ) as opened:
            opened.ensure_topics()
            opened.api, opened.namespace, opened.proxy = kubernetes_api, namespace, proxy
            opened.config = proxy.kubeconfig(config, folder)
            opened.asking = Asking(opened, random.Random(3))
            opened.other = opened.start(*WORKER)
            opened.asking.ask(*(request(**opened.asking.event(number)) for number in range(EVENTS)))
            eventually("all events", opened.asking.as_wanted)
            yield opened


def stopped_while_it_writes(world, one):
    """Its writes are on their way and unanswered, others queue behind them."""
    with world.proxy.holding():
        before = world.proxy.held
        world.asking.change_some(40)
        eventually("writes on their way", lambda: world.proxy.held > before + 3)
        one.pause()
        yield


def stopped_with_late_writes(world, one):
    """The same, and the network delivers them after the other worker is done, while this one still sleeps."""
    with world.proxy.holding():
        before = world.proxy.held
        world.asking.change_some(40)
        eventually("writes on their way", lambda: world.proxy.held > before + 3)
        one.pause()
        yield
    time.sleep(1)


def stopped_in_a_burst(seconds):
    def stopped(world, one):
        """It reads, folds and writes; what it has not sent to Kafka or the API server yet is in its memory."""
        world.asking.change_some(150)
        time.sleep(seconds)
        one.pause()
        yield

    return stopped


MOMENTS = {
    "writes on their way": stopped_while_it_writes,
    "writes that arrive late": stopped_with_late_writes,
    "at once": stopped_in_a_burst(0.0),
    "50 ms into a burst": stopped_in_a_burst(0.05),
    "400 ms into a burst": stopped_in_a_burst(0.4),
}


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_nothing_that_the_other_one_did_is_undone(world, moment):
    taken = world.other.said().count("taken over")
    one = world.start(*WORKER, kubeconfig=world.config)
    try:
        eventually("both to share", lambda: "taken over" in one.said() and shares(world.other, taken))
        eventually("all as before", world.asking.as_wanted)
        steps = MOMENTS[moment](world, one)
        next(steps)
        stopped = time.monotonic()
        world.asking.change_some(CHANGES)
        eventually("the other one to do all of it", lambda: world.asking.as_wanted() and folded(world))
        time.sleep(max(0.0, stopped + 2 * SESSION - time.monotonic()))
        assert one.running
        next(steps, None)
        one.resume()
        eventually("it to end itself", lambda: not one.running, 15)
        assert one.process.returncode == EXIT_UNSAFE
        eventually("all as it was asked", world.asking.as_wanted, 30)
        # Whatever it might have sent has long arrived by now.
        time.sleep(2)
        assert world.asking.as_wanted()
        compacted(world)
    finally:
        one.close()
    assert world.other.running


def shares(worker, taken):
    return worker.said().count("taken over") > taken


def folded(world):
    entries = world.latest(world.catalogue.entries).values()
    wanted = {key: one.request_id for key, one in world.asking.last.items()}
    return Same({e.key: last_request(e) for e in entries}, wanted)


def last_request(entry):
    deleted = entry.deletion is not None and entry.scale_out is None
    return entry.deletion.request_id if deleted else entry.scale_out.request_id


def compacted(world):
    """What compaction would leave of each topic is what the other worker wrote, and replay finds it equal."""
    for spec in (world.catalogue.entries, world.catalogue.facts):
        highest = {}
        for key, record, message in world.read(spec):
            if record is not None:
                assert record.position >= highest.get(key, -1), f"{spec.name}@{message.offset()}: older than before"
                highest[key] = record.position
    assert folded(world)
    told = world.run("replay", "--json", "--quiet")
    assert told.returncode == 0, told.stdout + told.stderr
