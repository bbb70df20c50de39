"""Profiles as plain values: what scales, to which level, by which steps.

Pure: standard library only. Reading and judging the file is ``peaktime.profiles``' work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One service's part of a run: a reference to a template of a WorkflowTemplate.

    Attributes:
        service: the service's name, used as the step's name.
        workflow_template: ``metadata.name`` of the WorkflowTemplate.
        template: the template within it.
        parameters: further arguments of the template.
    """

    service: str
    workflow_template: str
    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One direction of a profile: the level that it leads to and its stages, one after the other.

    The members of a stage run in parallel.
    """

    level: int
    stages: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Target + day + band: how it scales out and in.

    Attributes:
        scale_out: leads to the profile's level.
        scale_in: leads back; its level is what capacity returns to.
        namespace: where the objects go; empty for the worker's default.
        service_account: service account of the runs; empty for the cluster's default.
        ttl_seconds: how long a finished Workflow stays.
        starting_deadline_seconds: ``startingDeadlineSeconds`` of the CronWorkflow.
        expected_seconds: a run that takes longer is SLOW, and no longer holds up others.
    """

    target: str
    day: str
    band: str
    scale_out: Way
    scale_in: Way
    namespace: str = ""
    service_account: str = ""
    ttl_seconds: int = 7 * 24 * 3600
    starting_deadline_seconds: int = 300
    expected_seconds: int = 600

    @property
    def name(self) -> str:
        """``infra-mon-night``."""
        return f"{self.target}-{self.day}-{self.band}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A time of day and its hours, in minutes after local midnight; an end not after the start is tomorrow's."""

    name: str
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles, by name, with the zone and the bands that they share."""

    zone: str
    bands: Mapping[str, Band]
    by_name: Mapping[str, Profile]

    def find(self, target: str, day: str, band: str) -> Profile | None:
        """The profile of a target, day and band, if there is one."""
        return self.by_name.get(f"{target}-{day}-{band}")
