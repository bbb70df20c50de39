"""Gives the unprivileged user of the test cluster just the rights that k8s/ gives peaktime."""

from pathlib import Path

import yaml

K8S = Path(__file__).parents[2] / "k8s"


def role() -> dict:
    """The Role of the worker, as it is deployed."""
    for path in sorted(K8S.rglob("*.yaml")):
        for obj in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if obj and obj["kind"] == "Role" and obj["metadata"]["name"] == "peaktime-worker":
                return obj
    raise AssertionError("k8s/ has no Role peaktime-worker")


def grant(api, namespace: str, user: str = "peaktime") -> None:
    """Bind the worker's Role to a user in a namespace."""
    deployed = role()
    deployed["metadata"] = {"name": deployed["metadata"]["name"], "namespace": namespace}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": deployed["metadata"]["name"]},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    api.apply_manifests(deployed, binding)
