"""What a look is given of WorkflowTemplates: asked for once, remembered for a while, and never waited for."""

import asyncio

import pytest

from peaktime.calendars import load_calendars
from peaktime.configuration import configuration_of
from peaktime.core.actions import Template
from peaktime.errors import ClusterError
from peaktime.profiles import load_profiles
from peaktime.settings import Settings
from processors.reconcile import surroundings
from processors.reconcile.surroundings import Templates

KEY = ("n", "scale")
HELD = Template(names=frozenset({"out"}))


class Cluster:
    """Holds WorkflowTemplates, and cannot be asked while it is away."""

    def __init__(self):
        self.held = {KEY: HELD}
        self.away = False
        self.asked = []

    async def template(self, namespace, name):
        self.asked.append((namespace, name))
        await asyncio.sleep(0)
        if self.away:
            raise ClusterError("n/scale", "does not answer", "It is tried again")
        return self.held.get((namespace, name), Template())


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def told():
    return []


@pytest.fixture
async def templates(cluster, told):
    made = Templates(cluster, told.append)
    yield made
    await made.stop()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_not_known_is_left_out_and_the_target_told_when_it_is(templates, told):
    assert templates.of("infra", [KEY]) == {}
    await settled()
    assert told == ["infra"]
    assert templates.of("infra", [KEY]) == {KEY: HELD}


async def test_it_is_asked_for_once_for_all_who_want_it(templates, cluster, told):
    for target in ("a", "b", "a"):
        templates.of(target, [KEY])
    await settled()
    assert (cluster.asked, sorted(told)) == ([KEY], ["a", "b"])
    templates.of("a", [KEY])
    await settled()
    assert cluster.asked == [KEY]


async def test_after_a_while_it_is_looked_at_again_and_only_news_are_told(templates, cluster, told, monkeypatch):
    monkeypatch.setattr(surroundings, "_FRESH", 0.0)
    templates.of("infra", [KEY])
    await settled()
    templates.of("infra", [KEY])
    await settled()
    assert (len(cluster.asked), told) == (2, ["infra"])
    cluster.held = {}
    templates.of("infra", [KEY])
    await settled()
    assert told == ["infra", "infra"]
    assert templates.of("infra", [KEY]) == {KEY: Template()}


async def test_while_the_cluster_is_away_what_was_known_stays(templates, cluster, told, monkeypatch):
    monkeypatch.setattr(surroundings, "_FRESH", 0.0)
    monkeypatch.setattr(surroundings, "_AGAIN", 0.0)
    templates.of("infra", [KEY])
    await settled()
    cluster.away = True
    templates.of("infra", [KEY])
    await settled()
    assert templates.of("infra", [KEY]) == {KEY: HELD}
    assert told == ["infra"]


def test_the_configuration_of_a_target_is_its_own_part_and_the_same_for_the_same_files():
    settings, profiles, calendars = Settings.load(), load_profiles(None), load_calendars(None)
    one = configuration_of("infra", settings, profiles, calendars)
    assert one == configuration_of("infra", Settings.load(slack_channel="#other"), load_profiles(None), calendars)
    assert set(one) == {"settings", "profiles", "calendars"}
    assert '"infra-mon-night"' in one["profiles"]
    assert set(configuration_of("nothing-of-ours", settings, profiles, calendars)) == {"settings"}
