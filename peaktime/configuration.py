"""A target's part of the settings in force, as it goes on the log: what its runs and peaks were made from.

Pure: it is given the settings, profiles and calendars. Must not: hold secrets, or anything that differs between workers
of one deployment; two workers with the same files must say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from peaktime.calendars import Calendars
from peaktime.core.profiles import Profiles
from peaktime.settings import Settings

#: The settings that decide what a plan looks like.
_DECIDING = ("zone", "grace", "namespace")


def configuration_of(target: str, settings: Settings, profiles: Profiles, calendars: Calendars) -> Mapping[str, str]:
    """By ``settings``, ``profiles`` and ``calendars`` a JSON object; its members are what changes are told by.

    Args:
        target: the target.
        settings: of this process.
        profiles: in force.
        calendars: in force; those of the target count.
    """
    parts = {
        "settings": {name: getattr(settings, name) for name in _DECIDING},
        "profiles": {p.name: asdict(p) for p in profiles.by_name.values() if p.target == target},
        "calendars": {c.id: c.model_dump(mode="json") for c in calendars.calendars if c.target == target},
    }
    return {name: _text(part) for name, part in parts.items() if part}


def _text(part: object) -> str:
    return json.dumps(part, sort_keys=True, ensure_ascii=False, default=dict)
