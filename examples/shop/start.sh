#!/bin/sh
# The shop and its price service, as any process manager would run them. Nothing here is about tracing but the names.
set -u
cd "$(dirname "$0")" || exit 1
trap 'kill $shop $prices 2>/dev/null; wait' TERM INT

ELASTIC_APM_SERVICE_NAME=prices python -m uvicorn prices:app --port "$PRICES_PORT" --log-level warning &
prices=$!
ELASTIC_APM_SERVICE_NAME=shop python -m gunicorn shop:app --bind "127.0.0.1:$SHOP_PORT" --workers 2 --threads 2 \
  --log-level warning &
shop=$!
wait
