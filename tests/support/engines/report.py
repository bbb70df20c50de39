"""A pytest plugin that tells, at the end of a session, which engines and which machine it ran on."""

import os
import platform

import pytest

_used: list[str] = []


def note(line: str) -> None:
    """Remember an engine that was used."""
    _used.append(line)


def machine() -> str:
    """What results of this machine are to be read by."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def pytest_sessionfinish(session):
    """In a worker of pytest-xdist: hand what was used to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["engines"] = list(_used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    _used.extend(getattr(node, "workeroutput", {}).get("engines", []))


def pytest_terminal_summary(terminalreporter):
    if _used:
        terminalreporter.section("engines")
        for line in [*_used, machine()]:
            terminalreporter.line(line)
