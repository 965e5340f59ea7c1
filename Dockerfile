# The daemon of one account, without the demonstration. deploy/container/README.md says how to build and run it.
ARG PYTHON=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/ingestor/venv
COPY requirements.txt requirements-dev.txt ./
# The locked packages, and apart from them those that make our wheel.
RUN /opt/build/bin/python -m pip --python /opt/ingestor/venv install --disable-pip-version-check --no-cache-dir \
        --require-hashes --no-deps --only-binary :all: -r requirements.txt && \
    awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements-dev.txt > requirements-build.txt && \
    /opt/build/bin/python -m pip install --disable-pip-version-check --no-cache-dir \
        --require-hashes --no-deps --only-binary :all: -r requirements-build.txt
COPY LICENSE README.md pyproject.toml ./
COPY deploy deploy
COPY migrations migrations
COPY ingestor ingestor
RUN /opt/build/bin/python -m hatchling build -t wheel -d dist && \
    /opt/build/bin/python -m pip --python /opt/ingestor/venv install --disable-pip-version-check --no-cache-dir \
        --no-index --no-deps dist/*.whl

FROM ${PYTHON}
# libpq asks for the name of its user. A tmpfs mounted on the directory takes its mode, and not its owner.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin ingestor && \
    install -d -m 1777 /opt/ingestor/run
COPY --from=build /opt/ingestor/venv /opt/ingestor/venv
# The local socket, and the files hercle_api_key and database_password.
ENV PATH=/opt/ingestor/venv/bin:$PATH \
    RUNTIME_DIRECTORY=/opt/ingestor/run \
    CREDENTIALS_DIRECTORY=/run/secrets \
    PYTHONDONTWRITEBYTECODE=1
USER ingestor
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["ingestor", "status"]
ENTRYPOINT ["ingestor"]
CMD ["run"]
