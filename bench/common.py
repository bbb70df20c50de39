"""What the benches share: engines, a worker on them, and a watch that notes when each CronWorkflow is first seen."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import httpx  # noqa: E402  (the path above)
from support.engines.kafka import start_kafka  # noqa: E402  (the path above makes it importable)
from support.engines.kubernetes import http_client, start_kubernetes  # noqa: E402
from support.rights import grant  # noqa: E402
from support.site import eventually, site  # noqa: E402

PATH = "/apis/argoproj.io/v1alpha1/namespaces/{}/cronworkflows"


def machine() -> str:
    """What the figures were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def profiles_text(targets: list[str]) -> str:
    """Profiles for targets of the bench."""
    return "zone: Asia/Seoul\nbands: {common: {from: '09:00', to: '18:00'}}\nprofiles:\n" + "".join(
        f"""  - target: {target}
    days: [common]
    bands: [common]
    level: 1
    scaleOut: {{stages: [[{{service: account, workflowTemplate: dd-account-batch-start, template: scale}}], [{{service: app, workflowTemplate: dd-app-batch-start, template: scale}}]]}}
    scaleIn: {{stages: [[{{service: account, workflowTemplate: dd-account-batch-stop, template: scale}}], [{{service: app, workflowTemplate: dd-app-batch-stop, template: scale}}]]}}
"""
        for target in targets
    )


class Sightings:
    """When each CronWorkflow of a namespace was first and last seen by a watch (monotonic seconds), by name."""

    def __init__(self, api, namespace: str) -> None:
        self.seen: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self._client = http_client(api.kubeconfig())
        self._path = PATH.format(namespace)
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self.ready.wait(30)

    def _watch(self) -> None:
        at = self._client.get(self._path).json()["metadata"]["resourceVersion"]
        with contextlib.suppress(httpx.TransportError):  # the end of the API server is the end of the bench
            while True:  # a watch that was quiet for a minute is ended by the server
                query = {"watch": "true", "resourceVersion": at}
                with self._client.stream("GET", self._path, params=query, timeout=None) as response:
                    self.ready.set()
                    for line in response.iter_lines():
                        event = json.loads(line)
                        at, name = (event["object"]["metadata"][part] for part in ("resourceVersion", "name"))
                        if event["type"] == "ADDED":
                            self.seen.setdefault(name, time.monotonic())
                        elif event["type"] == "DELETED":
                            self.gone[name] = time.monotonic()


@contextmanager
def world(targets: list[str], **settings):
    """A broker, an API server, a namespace and a worker that is ready."""
    kafka, api = start_kafka(), start_kubernetes()
    try:
        with tempfile.TemporaryDirectory() as folder, api.new_namespace() as namespace:
            grant(api, namespace)
            profiles = Path(folder) / "profiles.yaml"
            profiles.write_text(profiles_text(targets), encoding="utf-8")
            with site(
                kafka.bootstrap, "bench.", Path(folder), namespace=namespace, kubeconfig=api.kubeconfig("peaktime"),
                profiles=profiles, **{"session_timeout": 10, "commit_interval": 1.0, **settings},
            ) as opened:  # fmt: skip
                opened.ensure_topics()
                opened.api, opened.namespace = api, namespace
                worker = opened.start("worker")
                eventually("the worker to be ready", lambda: worker.said().count("taken over") >= 2, 60)
                yield opened
    finally:
        api.stop()
        kafka.stop()


def row(name: str, values: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{name:<44} p50 {statistics.median(ordered) * 1000:7.1f} ms   p99 {p99 * 1000:7.1f} ms   n {len(ordered)}"
