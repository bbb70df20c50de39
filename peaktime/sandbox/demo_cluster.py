"""The sandbox's cluster as the demo sees it: a folder of manifests that changes while one looks.

For: telling what appeared and went, and keeping a copy of what was planned. Must not: change the folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from peaktime.core.runs import Manifest
from peaktime.sandbox.demo_state import Cluster

#: What a cluster sets on an object; a manifest that is to be created elsewhere must not state it.
_SET_BY_CLUSTER = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WIDTH = 120


class _Dumper(yaml.SafeDumper):
    """YAML in which everything is written out."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object of the cluster; ``manifest`` is how it stands, or stood last."""

    what: Literal["created", "changed", "gone"]
    manifest: Manifest

    @property
    def kind(self) -> str:
        """CronWorkflow or Workflow."""
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.manifest["metadata"]["name"])


class ClusterWatch:
    """Looks at the folder whenever it is asked to.

    Args:
        folder: one YAML file an object, named ``<kind>.<namespace>.<name>.yaml``; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps: dict[str, tuple[int, int]] = {}
        self._objects: dict[str, Manifest] = {}

    def look(self) -> list[Change]:
        """What changed since the last look, in the order of names."""
        changes: list[Change] = []
        found = self._scan()
        for file in sorted(self._stamps.keys() - found.keys()):
            del self._stamps[file]
            changes.append(Change("gone", self._objects.pop(file)))
        for file, stamp in sorted(found.items()):
            if self._stamps.get(file) == stamp:
                continue
            try:
                text = (self._folder / file).read_text(encoding="utf-8")
                manifest = yaml.load(text, Loader=_LOADER)  # noqa: S506  (a safe loader)
            except FileNotFoundError:
                continue
            self._stamps[file] = stamp
            before, self._objects[file] = self._objects.get(file), manifest
            if before is None:
                changes.append(Change("created", manifest))
            elif before["spec"] != manifest["spec"]:
                changes.append(Change("changed", manifest))
        return changes

    def cluster(self) -> Cluster:
        """All objects as of the last look."""
        by_kind: dict[str, dict[str, Manifest]] = {"CronWorkflow": {}, "Workflow": {}}
        for manifest in self._objects.values():
            by_kind[manifest["kind"]][manifest["metadata"]["name"]] = manifest
        return Cluster(by_kind["CronWorkflow"], by_kind["Workflow"])

    def _scan(self) -> dict[str, tuple[int, int]]:
        found = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.startswith(("cronworkflow.", "workflow.")) and entry.name.endswith(".yaml"):
                        try:
                            status = entry.stat()
                        except FileNotFoundError:
                            continue
                        found[entry.name] = (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            return {}
        return found


def finished(workflow: Manifest) -> bool:
    """Whether a Workflow is over."""
    return (workflow.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Error")


def save(cron_workflows: Mapping[str, Manifest], folder: Path) -> None:
    """Write CronWorkflows as manifests that could be applied to a cluster, one file an object."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, manifest in sorted(cron_workflows.items()):
        metadata = {key: value for key, value in manifest["metadata"].items() if key not in _SET_BY_CLUSTER}
        wanted = {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}
        text = yaml.dump(wanted, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
