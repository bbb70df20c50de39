"""What would be done now, asked without any way to do it."""

from __future__ import annotations

import copy
import inspect
from datetime import timedelta

import pytest
from support.asking import at, delete, scale_in, scale_out
from support.simulator import GRACE, World

from peaktime.cli.plan import plan_json, rows
from peaktime.core.actions import Template
from peaktime.core.plan import Circumstances, Observed
from peaktime.errors import ClusterError
from processors.reconcile.cluster import Cluster
from processors.reconcile.preview import ReadOnly, preview

ZONE = "Asia/Seoul"


class Shown:
    """A cluster that shows what a world has, and fails where anybody writes."""

    def __init__(self, world, *, synced=True, templates=None):
        self.world, self.synced, self.trouble = world, synced, "403 forbidden"
        self.known, self.asked, self.open = templates or {}, [], False

    async def start(self, _changed):
        self.open = True

    async def stop(self):
        self.open = False

    def observed(self, _target, _names):
        return Observed(
            cron_workflows=copy.deepcopy(self.world.crons),
            workflows=copy.deepcopy(self.world.workflows),
        )

    def targets(self):
        return {"infra"} if self.world.crons else set()

    async def template(self, namespace, name):
        self.asked.append((namespace, name))
        return self.known.get((namespace, name))

    async def create(self, manifest):
        raise AssertionError(f"created {manifest}")

    apply = delete = trial = create


def circumstances(world, **more):
    return Circumstances(now=at(world.minute), grace=GRACE, namespace="peaktime", reporter="plan", **more)


async def previewed(world, cluster=None, **more):
    cluster = ReadOnly(cluster or Shown(world))
    async with cluster.opened():
        at_now = circumstances(world, **more)
        return await preview("infra", world.log.entries, world.facts, world.profiles, at_now, cluster)


def test_the_port_has_no_method_that_writes():
    public = {name for name, _ in inspect.getmembers(ReadOnly) if not name.startswith("_")}
    assert public == {"observed", "targets", "template", "opened"}
    writing = {"create", "apply", "delete", "trial"}
    assert writing <= set(dir(Cluster))
    port = ReadOnly(Shown(World()))
    kept = [value for value in vars(port).values() if getattr(value, "__name__", "") in writing]
    assert kept == []


async def test_it_says_what_a_look_of_the_worker_would_do():
    world = World()
    for request in (scale_out("a", 60, 240), scale_in("a-in", 240)):
        world.log.append(request)
    one = await previewed(world)
    wanted = world.decide()
    assert [write.manifest for write in one.plan.writes] == [write.manifest for write in wanted.writes]
    assert one.plan.look_again == wanted.look_again
    world.look()
    one = await previewed(world)
    assert (one.plan.writes, one.plan.reports) == ((), ())


async def test_the_lines_of_a_plan():
    world = World(misses=lambda _minute: True)
    world.log.append(scale_out("a", 60, 240, title="봄 [행사]"))
    world.log.append(scale_in("a-in", 240, title="봄 [행사]"))
    world.log.append(scale_out("b", 300, 400, date="2026-05-05", band="dawn"))
    one = await previewed(world)
    when = "2026-05-04 01:00:00 UTC"
    assert list(rows(one, ZONE)) == [
        (
            "create",
            "CronWorkflow peaktime-create-infra-common-common-20260504",
            "Mon 2026-05-04 10:00",
            f"'봄 [행사]' scale-out at {when}: its window opens",
        ),
        (
            "create",
            "CronWorkflow peaktime-delete-infra-common-common-20260504",
            "Mon 2026-05-04 13:00",
            "'봄 [행사]' scale-in at 2026-05-04 04:00:00 UTC: the last open window closes",
        ),
        (
            "report",
            "PROBLEM_OPENED unknown-profile/infra/pa/2026-05-05/infra-common-dawn",
            "Mon 2026-05-04 09:00",
            "no profile infra-common-dawn is configured, so 'Sale' cannot be scaled; add it to the profiles",
        ),
    ]
    told = plan_json(one, world.facts.by_subject)
    assert [write["firesAt"] for write in told["writes"]] == ["2026-05-04T01:00:00Z", "2026-05-04T04:00:00Z"]
    assert told["writes"][0]["entry"] == "infra/pa/2026-05-04"
    assert [(problem["code"], problem["reported"]) for problem in told["problems"]] == [("unknown-profile", False)]
    world.look()
    one = await previewed(world)
    assert plan_json(one, world.facts.by_subject)["problems"][0]["reported"]
    world.minute = 70
    one = await previewed(world)
    (start,) = [row for row in rows(one, ZONE) if row[0] == "start"]
    assert start[2] == "now, due Mon 2026-05-04 10:00"


async def test_what_is_to_be_removed_says_when_it_would_have_fired():
    world = World()
    world.ask(scale_out("a", 60, 240))
    world.log.append(delete("d"))
    one = await previewed(world)
    (remove,) = [row for row in rows(one, ZONE) if row[0] == "delete"]
    assert remove[1:3] == ("CronWorkflow peaktime-create-infra-common-common-20260504", "Mon 2026-05-04 10:00")


async def test_templates_are_looked_at_for_firings_that_are_near():
    world = World(minute=40)
    world.log.append(scale_out("a", 60, 240))
    world.look()
    cluster = Shown(world, templates={("peaktime", "app-batch"): Template(names=frozenset())})
    one = await previewed(world, cluster, ready_before=timedelta(minutes=30))
    assert cluster.asked == [("peaktime", "app-batch")]
    assert [problem.code for problem in one.plan.problems] == ["not-ready"]
    cluster = Shown(world)
    one = await previewed(world, cluster, ready_before=timedelta(minutes=5))
    assert (cluster.asked, one.plan.problems) == ([], ())


async def test_what_only_a_worker_can_find_out_stays_as_it_reported_it():
    world = World(around={"refusals": {"infra-common-common scale-out": "a webhook says no"}})
    world.log.append(scale_out("a", 60, 240))
    world.look()
    one = await previewed(world)
    assert [problem.code for problem in one.plan.problems] == ["refused-profile"]
    assert one.plan.reports == ()


async def test_a_cluster_that_does_not_show_is_said_and_left():
    cluster = Shown(World(), synced=False)
    with pytest.raises(ClusterError, match="403 forbidden"):
        async with ReadOnly(cluster).opened(patience=0.1):
            pass
    assert not cluster.open


async def test_a_cluster_is_left_when_something_goes_wrong():
    cluster = Shown(World())

    async def fail():
        async with ReadOnly(cluster).opened():
            assert cluster.open
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not cluster.open
