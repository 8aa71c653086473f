#!/bin/sh
# Without arguments: the service, as process 1. With arguments: that command (migrations, for instance).
set -eu
[ $# -eq 0 ] || exec "$@"
workers="${WEB_CONCURRENCY:-1}"
if [ "$workers" -gt 1 ]; then
    PROMETHEUS_MULTIPROC_DIR="$(mktemp -d)"
    export PROMETHEUS_MULTIPROC_DIR
fi
exec uvicorn app.main:app --host 0.0.0.0 --port "${PORT:-54000}" --workers "$workers" \
    --loop uvloop --http httptools --ws websockets-sansio --lifespan on \
    --timeout-keep-alive 75 --timeout-graceful-shutdown 20 \
    --no-access-log --no-server-header --log-config /app/logging.json
