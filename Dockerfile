# One image for all: the command chooses the service.
#   uvicorn --factory services.earn.app:create      (members, earn, redeem, tiers, notifier)
#   pointbank migrate
#   pointbank gateway /gateway
# It runs as 10001, needs no writable file but /tmp (and /gateway for that command, and redeem its folder of seals), and
# stops on SIGTERM when it has finished what it holds.

FROM python:3.13-slim-bookworm AS build
# requirements-otel.lock instead: the same, and what traces need.
ARG REQUIREMENTS=requirements.lock
WORKDIR /build
COPY requirements.lock requirements-otel.lock ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r "$REQUIREMENTS" \
 && /opt/venv/bin/pip uninstall --yes pip
# The packages are copied, not installed: a build backend would be one more thing to lock. So the command is made by hand.
COPY shared /app/shared
COPY services /app/services
COPY pointbank /app/pointbank
COPY LICENSE /app/LICENSE
RUN printf '%s\n' '#!/opt/venv/bin/python' 'from pointbank.cli import main' 'main()' > /opt/venv/bin/pointbank \
 && chmod 0755 /opt/venv/bin/pointbank \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM python:3.13-slim-bookworm
RUN groupadd --gid 10001 pointbank \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pointbank \
 && mkdir -p /gateway /var/lib/pointbank/seals && chown 10001:10001 /gateway /var/lib/pointbank/seals
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    POINTBANK_LOG=json \
    UVICORN_HTTP=shared.http.protocol:Protocol \
    UVICORN_HOST=0.0.0.0 \
    UVICORN_PORT=8000 \
    UVICORN_ACCESS_LOG=false \
    UVICORN_SERVER_HEADER=false \
    UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=20
WORKDIR /app
USER 10001:10001
EXPOSE 8000
# Nobody can guess which service was meant: without a command the image says what it can do.
CMD ["pointbank", "--help"]
