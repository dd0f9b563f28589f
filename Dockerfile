# Two stages: the first has compilers' caches, pip and the build backend, the second only what runs.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
# The locked packages first, with the extras metrics, notify and s3: this layer changes only when they do.
COPY requirements-image.txt requirements-build.txt ./
RUN python -m venv /opt/reconciler \
 && /opt/reconciler/bin/python -m pip install --require-hashes -r requirements-image.txt \
 && python -m pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY reconciler ./reconciler
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/reconciler/bin/python -m pip install --no-deps --no-index /wheels/*.whl \
 && /opt/reconciler/bin/python -m pip uninstall --yes pip

FROM python:${PYTHON}-slim
# git reads commits and authors; its ssh is for private repositories. Commands on servers do not use it.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --home-dir /var/lib/reconciler --create-home --shell /usr/sbin/nologin reconciler
COPY --from=build /opt/reconciler /opt/reconciler
ENV PATH=/opt/reconciler/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RECONCILER_STATE_DIR=/var/lib/reconciler \
    RECONCILER_LISTEN=127.0.0.1:9187 \
    RECONCILER_DATABASE_URL=sqlite:////var/lib/reconciler/state.db
# By number: Kubernetes can check that it is not root.
USER 10001:10001
# PATH's default is ./manifests: mount the tree at /config/manifests.
WORKDIR /config
VOLUME /var/lib/reconciler
STOPSIGNAL SIGTERM
# Healthy: every loop of `up`, `controller` or `worker` steps. An outage of the database is no reason for a restart;
# /readyz tells of that. The port is open within the container only.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["python", "-c", "import os, sys, http.client; asked = http.client.HTTPConnection(os.environ['RECONCILER_LISTEN'], timeout=10); asked.request('GET', '/healthz'); sys.exit(asked.getresponse().status != 200)"]
ENTRYPOINT ["reconciler"]
CMD ["--help"]
