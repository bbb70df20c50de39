"""What is found about settings and files, judged.

Pure: values in, lines out. Must not: read a file or the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from processors.doctor.lines import Line, ok, warning, wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """A configuration file.

    Attributes:
        what: ``profiles`` or ``calendars``.
        variable: the setting that names it.
        path: it; None for the sample that ships with the package.
        count: how many profiles or calendars it states.
        zone: its zone; empty if it states none.
        problem: why it cannot be used; empty if it can.
        remedy: what to do then.
    """

    what: str
    variable: str
    path: str | None
    count: int = 0
    zone: str = ""
    problem: str = ""
    remedy: str = ""


def file_lines(seen: FileSeen, zone: str) -> list[Line]:
    """One file: readable, right, not forgotten, and in the zone of the settings."""
    if seen.problem:
        return [wrong(seen.what, f"{seen.path or 'the sample'}: {seen.problem}", seen.remedy or f"See {seen.variable}")]
    lines = []
    if seen.path is None:
        said = f"{seen.variable} is not set, so the sample that ships with peaktime is used"
        lines.append(warning(seen.what, said, f"Name a file of your own in {seen.variable}"))
    else:
        lines.append(ok(seen.what, f"{seen.path} states {seen.count}"))
    if seen.zone and seen.zone != zone:
        said = f"their zone is {seen.zone}, and PEAKTIME_ZONE is {zone}"
        lines.append(warning(seen.what, said, "Make them one: dates that people type are in PEAKTIME_ZONE"))
    return lines


def settings_lines(
    zone: str, for_tests: Sequence[str], mistaken: Mapping[str, str], *, slack: str, has_token: bool,
) -> list[Line]:  # fmt: skip
    """The settings, which could be read.

    Args:
        zone: the zone of dates.
        for_tests: the variables that are set and that only sandboxes and tests use.
        mistaken: variables that are no settings, and the setting that each may mean.
        slack: where messages go.
        has_token: whether Slack's token is set.
    """
    lines = [ok("settings", f"read; zone {zone}, messages go to {slack}")]
    if slack == "web" and not has_token:
        said = "PEAKTIME_SLACK is web, and PEAKTIME_SLACK_TOKEN is not set"
        lines.append(warning("settings", said, "Where `peaktime slack-sink` runs, set it to a bot token (xoxb-…)"))
    for name, meant in mistaken.items():
        lines.append(warning("settings", f"{name} is not a setting, so nothing reads it", f"{meant} may be meant"))
    if for_tests:
        said = f"{', '.join(for_tests)}: for sandboxes and tests only"
        lines.append(warning("settings", said, "Unset it, unless this is one"))
    return lines
