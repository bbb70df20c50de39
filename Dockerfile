# One image for every role: the command says which (`worker`, `gateway`, `slack-sink`, `import-calendar`, `topics`, …).
#
#   docker build -t peaktime:0.1.0 .
#
# Behind a package index of your own, hand pip's configuration to the build; it does not end up in the image:
#
#   docker build --secret id=pip,src=pip.conf -t peaktime:0.1.0 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_CONFIG_FILE=/run/secrets/pip
WORKDIR /src
RUN python -m venv /opt/build && python -m venv /opt/peaktime

# The dependencies first, so that a change of the code does not install them again. The pattern lets the pinned
# requirements be absent; then the ranges of pyproject.toml decide.
COPY LICENSE requirements*/*.txt requirements/
RUN --mount=type=secret,id=pip \
    if [ -f requirements/build.txt ]; then \
        /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt; \
    else \
        /opt/build/bin/pip install "hatchling>=1.27"; \
    fi \
    && if [ -f requirements/runtime.txt ]; then \
        /opt/peaktime/bin/pip install --require-hashes --requirement requirements/runtime.txt; \
    fi

COPY . .
RUN --mount=type=secret,id=pip \
    /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && if [ -f requirements/runtime.txt ]; then \
        /opt/peaktime/bin/pip install --no-deps /dist/*.whl; \
    else \
        /opt/peaktime/bin/pip install /dist/*.whl; \
    fi \
    && /opt/peaktime/bin/pip check \
    && /opt/peaktime/bin/pip uninstall --yes --quiet pip setuptools

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="peaktime" \
      org.opencontainers.image.description="Turns planned traffic peaks into scheduled scaling" \
      org.opencontainers.image.licenses="Apache-2.0"
# /cluster is where the folder of manifests goes in docker-compose.yml: a new volume takes its owner from here.
RUN groupadd --gid 10001 peaktime \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin peaktime \
    && install -d -o 10001 -g 10001 /cluster
COPY --from=build /opt/peaktime /opt/peaktime
ENV PATH=/opt/peaktime/bin:${PATH} \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# The only place that is written to (Faust makes its folder where it is started): with a read-only root file system,
# mount something here.
WORKDIR /tmp
EXPOSE 8080 9102
ENTRYPOINT ["peaktime"]
CMD ["--help"]
