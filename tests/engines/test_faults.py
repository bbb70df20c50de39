"""An API server in trouble while 300 requests arrive: all is as it should be within 30 s of its end, and nothing double."""

import time
from collections import Counter
from datetime import timedelta

import pytest
from support.fault_proxy import WRITES, FaultProxy
from support.rights import grant
from support.site import eventually, minute, request, site

from schemas.records import RequestAction

pytestmark = pytest.mark.slow

CRONS = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"
CONVERGED = 30.0
WRITES_PER_OBJECT = 3.0
EVENTS = 140
LATE = 10
TARGETS = 30
GROUPS = ["429", "500", "409", "reset", "cut", "410", "mix", "silence", "calm"]
PROFILES = "zone: Asia/Seoul\nbands: {common: {from: '09:00', to: '18:00'}}\nprofiles:\n" + "".join(
    f"""  - target: t{group}x{number}
    days: [common]
    bands: [common]
    level: 1
    scaleOut: {{stages: [[{{service: app, workflowTemplate: app-start, template: scale}}]]}}
    scaleIn: {{stages: [[{{service: app, workflowTemplate: app-stop, template: scale}}]]}}
"""
    for group in GROUPS
    for number in range(TARGETS)
)


@pytest.fixture(scope="module")
def world(kafka, kubernetes_api, tmp_path_factory):
    """One worker behind the proxy for all tests; each has targets of its own."""
    folder = tmp_path_factory.mktemp("faults")
    profiles = folder / "profiles.yaml"
    profiles.write_text(PROFILES, encoding="utf-8")
    with kubernetes_api.new_namespace() as namespace, FaultProxy(kubernetes_api.url, kubernetes_api.ca_file) as proxy:
        grant(kubernetes_api, namespace)
        config = proxy.kubeconfig(kubernetes_api.kubeconfig("peaktime"), folder)
        prefix = f"t{proxy.port}."
        with site(
            kafka.bootstrap,
            prefix,
            folder,
            namespace=namespace,
            kubeconfig=config,
            profiles=profiles,
            grace=1,
        ) as opened:
            opened.ensure_topics()
            opened.api, opened.namespace, opened.proxy = kubernetes_api, namespace, proxy
            opened.worker = opened.start("worker")
            eventually(
                "it to be at work", lambda: opened.worker.said().count("taken over") == 2 or not opened.worker.running
            )
            assert opened.worker.running, opened.worker.said()
            yield opened


def asked(group):
    """300 requests: 140 events that scale out and in, and 10 whose window is open, so that a run of each is owed."""
    first = minute(timedelta(days=2))
    wanted = []
    for number in range(EVENTS + LATE):
        late = number >= EVENTS
        starts = minute(timedelta(minutes=-1)) if late else first + timedelta(hours=2 * number)
        fields = {
            "target": f"t{group}x{number % (TARGETS - LATE) if not late else TARGETS - LATE + number - EVENTS}",
            "event_date": starts.strftime("%Y-%m-%dT%H:%M"),
            "title": f"event {number}",
            "starts_at": starts,
            "ends_at": starts + timedelta(hours=1),
        }
        wanted += [request(**fields), request(**fields, action=RequestAction.SCALE_IN)]
    return wanted


def seen(world, path, group):
    found = world.api.call("GET", path.format(world.namespace), labelSelector="app.kubernetes.io/managed-by=peaktime")
    return [o for o in found["items"] if o["metadata"]["labels"]["peaktime.io/target"].startswith(f"t{group}x")]


def of(obj):
    """What an object stands for."""
    metadata = obj["metadata"]
    return metadata["annotations"]["peaktime.io/entry"], metadata["labels"]["peaktime.io/action"]


def converged(world, group, wanted):
    """Each action that is yet to fire has its CronWorkflow, each run that is owed its Workflow, and there is no other."""
    crons, workflows = seen(world, CRONS, group), seen(world, WORKFLOWS, group)
    to_come = Counter(
        (f"{r.target}/pa/{r.event_date}", "create" if r.action is RequestAction.SCALE_OUT else "delete")
        for r in wanted
        if not (late(r) and r.action is RequestAction.SCALE_OUT)
    )
    owed = Counter((f"{r.target}/pa/{r.event_date}", "create") for r in wanted if late(r) and r.starts_at)
    have = Counter(of(c) for c in crons)
    # The CronWorkflow of a run that was started late is there as long as the run.
    have = Counter({what: count for what, count in have.items() if what not in owed})
    return have == to_come and Counter(of(w) for w in workflows) == owed


def late(wanted):
    return int(wanted.title.removeprefix("event ")) >= EVENTS


def trouble(world, group, *faults, seconds, share=1.0):
    """Publish under a fault; figures once all is as it should be."""
    wanted = asked(group)
    since = len(world.proxy.calls)
    third = len(wanted) // 3
    with world.proxy.failing(*faults, share=share):
        ends = time.monotonic() + seconds
        for part in range(3):
            world.publish(*wanted[part * third : (part + 1) * third])
            time.sleep(max(0.0, (ends - time.monotonic()) / (3 - part)))
    began = time.monotonic()
    eventually(f"all after {group}", lambda: converged(world, group, wanted), CONVERGED)
    took = time.monotonic() - began
    quiet = len(world.proxy.calls)
    assert converged(world, group, wanted)
    writes = {key: count for key, count in world.proxy.writes(since).items() if f"-t{group}x" in key[1]}
    average = sum(writes.values()) / (2 * (EVENTS + LATE))
    print(  # noqa: T201 - figures for the report
        f"\n{group}: converged {took:.1f} s after its end, {average:.2f} writes per object (most: {max(writes.values())}),"
        f" {world.proxy.count(since, verb='list')} lists, {world.proxy.count(since, verb='watch')} watches,"
        f" {sum(bool(c.fault) for c in world.proxy.calls[since:quiet])} of {quiet - since} calls met it",
    )
    assert average < WRITES_PER_OBJECT
    assert world.proxy.doubled == []
    assert asked_to_wait(world.proxy.calls[since:])
    assert world.worker.running
    return since


def asked_to_wait(calls):
    """Whether each object that was told to wait for a second was left alone for as long."""
    until = {}
    for call in calls:
        if call.verb in WRITES:
            if call.at < until.get((call.kind, call.name), 0.0):
                return False
            until[call.kind, call.name] = call.at + 1 if call.fault == "429" else 0.0
    return True


def test_calm(world):
    trouble(world, "calm", seconds=2)


@pytest.mark.parametrize("fault", ["429", "500", "409"])
def test_every_write_is_refused_for_a_while(world, fault):
    trouble(world, fault, fault, seconds=10)


def test_writes_are_done_and_their_answers_lost(world):
    trouble(world, "reset", "reset", seconds=8)


def test_a_watch_that_is_cut_every_second_goes_on_where_it_was(world):
    since = trouble(world, "cut", "cut", seconds=8)
    assert world.proxy.count(since, verb="watch") >= 8
    assert world.proxy.count(since, verb="list") == 0


def test_a_watch_that_is_too_old_is_followed_by_a_list(world):
    since = trouble(world, "410", "410", seconds=8)
    assert 2 <= world.proxy.count(since, verb="list") <= 40


def test_all_of_them_at_once(world):
    trouble(world, "mix", "429", "500", "409", "reset", "cut", "410", seconds=10, share=0.4)


def test_half_a_minute_of_silence(world):
    trouble(world, "silence", "silence", seconds=30)


def test_a_watch_that_died_in_silence_is_noticed_without_any_write_of_ours(world):
    wanted = request(target="tcalmx0", starts_at=minute(timedelta(days=99)))
    world.publish(wanted)
    (obj,) = eventually(
        "its CronWorkflow", lambda: [c for c in seen(world, CRONS, "calm") if wanted.event_date in of(c)[0]]
    )
    # What the tests before this one did may still keep them from watching.
    eventually("CronWorkflows and Workflows to be watched", lambda: world.proxy.watching == 2)
    with world.proxy.failing("silence"):
        time.sleep(1)
    since = len(world.proxy.calls)
    path = f"{CRONS.format(world.namespace)}/{obj['metadata']['name']}"
    world.api.call("DELETE", path)
    eventually("it to be made again", lambda: world.api.exists(path), CONVERGED)
    assert world.proxy.count(since, verb="list") == 0
