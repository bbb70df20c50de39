"""The real engines that tests and benchmarks run against: Kafka, a Kubernetes API server, a schema registry, Helm.

Each is had from an address in the environment, else (Kafka) from Docker, else as native processes built from package
registries into a cache outside the checkout (`build`). Everything started here listens on loopback only and dies with
the process that started it.

`python -m support.engines build` (with `PYTHONPATH=tests`) builds ahead of time; `… which` tells what would be used.
"""
