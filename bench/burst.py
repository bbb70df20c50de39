"""How fast 1,000 requests become CronWorkflows, beside the bare rate of the API server with 32 writes in flight.

Run: ``PYTHONPATH=tests python bench/burst.py [requests]``. The aim is at least half the bare rate.
"""

from __future__ import annotations

import asyncio
import copy
import sys
import time
from datetime import timedelta

import httpx
from common import PATH, Sightings, machine, world
from kubernetes import client, config
from support.engines.kubernetes import http_client
from support.site import eventually, minute, request

IN_FLIGHT = 32


async def bare(api, namespace: str, manifest: dict, count: int) -> float:
    """Writes a second, with 32 in flight."""
    settings = client.Configuration()
    config.load_kube_config(str(api.kubeconfig()), client_configuration=settings)
    token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(
        base_url=settings.host,
        verify=str(api.ca_file),
        headers={"Authorization": token},
        limits=limits,
        timeout=60,
    ) as http:
        numbers = iter(range(count))

        async def writer() -> None:
            for number in numbers:
                body = copy.deepcopy(manifest)
                body["metadata"] = {"name": f"bare-{number}"}
                (await http.post(PATH.format(namespace), json=body)).raise_for_status()

        started = time.monotonic()
        await asyncio.gather(*(writer() for _ in range(IN_FLIGHT)))
        return count / (time.monotonic() - started)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    targets = [f"svc{number}" for number in range(20)]
    with world(targets) as site:
        first = minute(timedelta(days=2))
        warm = [request(target=t, starts_at=first - timedelta(hours=5)) for t in targets]
        site.publish(*warm)
        sightings = Sightings(site.api, site.namespace)
        eventually(
            "the warm-up",
            lambda: (
                len(http_client(site.api.kubeconfig()).get(PATH.format(site.namespace)).json()["items"]) == len(warm)
            ),
            60,
        )
        manifest = http_client(site.api.kubeconfig()).get(PATH.format(site.namespace)).json()["items"][0]
        eventually("the watch", lambda: True)
        before = len(sightings.seen)
        wanted = [
            request(target=targets[number % 20], starts_at=first + timedelta(hours=number // 20))
            for number in range(count)
        ]
        started = time.monotonic()
        site.publish(*wanted)
        published = time.monotonic() - started
        eventually("all visible", lambda: len(sightings.seen) - before >= count, 300)
        rate = count / (max(sightings.seen.values()) - started)
        with site.api.new_namespace() as other:
            limit = asyncio.run(bare(site.api, other, manifest, count))
    print(machine())
    print(f"{count} requests published in {published:.2f} s")
    print(f"{'all visible, objects a second':<44} {rate:7.1f}")
    print(f"{'bare API server, 32 in flight, objects a second':<44} {limit:7.1f}")
    print(f"{'ratio':<44} {rate / limit:7.2f}      (aim: at least 0.5)")


if __name__ == "__main__":
    main()
