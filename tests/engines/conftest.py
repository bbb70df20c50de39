"""The engines as fixtures: started when first asked for, shared by the session (of each pytest-xdist worker), stopped at its end."""

import os
import time
import uuid

import pytest
from support.engines import report
from support.engines.errors import EngineNotOursError, EngineUnavailableError
from support.engines.helm import helm_binary as find_helm
from support.engines.helm import which as which_helm
from support.engines.kafka import NativeKafka, start_kafka
from support.engines.kubernetes import start_kubernetes
from support.engines.registry import start_registry
from support.site import Site

# Characters of each program's log.
LOG_SHOWN = 4000


def pytest_configure(config):
    if not config.pluginmanager.has_plugin(report.__name__):
        config.pluginmanager.register(report, report.__name__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    """A test that must harm an engine, or needs users of ours in it, is skipped on one that somebody gave us."""
    try:
        return (yield)
    except EngineNotOursError as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A test that failed shows the end of what its programs logged: where it failed, nobody may be able to look again."""
    told = yield
    if told.failed:
        for site in {id(value): value for value in item.funcargs.values() if isinstance(value, Site)}.values():
            told.sections += [(f"end of {program.log.name}", program.said()[-LOG_SHOWN:]) for program in site.programs]
    return told


@pytest.fixture(scope="session")
def had(pytestconfig):
    """Calls what starts an engine, showing progress; without the engine the test is skipped, or fails where `CI` is set."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(line):
        with capture.global_and_fixture_disabled():
            print(f"\n{line}", end="", flush=True)  # noqa: T201 - a first build takes minutes: show that it goes on

    def have(start, name=""):
        started = time.monotonic()
        try:
            engine = start(say)
        except EngineUnavailableError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))
        report.note(f"{name or engine.source} (ready in {time.monotonic() - started:.1f} s)")
        return engine

    return have


@pytest.fixture(scope="session")
def kafka(had):
    """A broker for all tests: use `topic_prefix`, and leave it running."""
    broker = had(start_kafka)
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def own_kafka(had):
    """A broker for the tests of one module, which may kill, pause and restart it."""
    broker = had(lambda say: NativeKafka(say=say))
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def kubernetes_api(had):
    """An API server for all tests: use `namespace`. Whoever kills it restarts it."""
    api = had(start_kubernetes)
    yield api
    api.stop()


@pytest.fixture
def namespace(kubernetes_api):
    """The name of a fresh namespace."""
    with kubernetes_api.new_namespace() as name:
        yield name


@pytest.fixture(scope="session")
def schema_registry(had):
    """A schema registry for all tests: use `topic_prefix` for subjects. What it had is gone after a restart."""
    registry = had(start_registry)
    yield registry
    registry.stop()


@pytest.fixture(scope="session")
def helm_binary(had):
    """The path of Helm."""
    return had(find_helm, f"Helm, {which_helm()}")


@pytest.fixture
def topic_prefix():
    """What the topics, groups and subjects of one test begin with."""
    return f"t{uuid.uuid4().hex[:8]}."
