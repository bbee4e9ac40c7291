#!/bin/sh
# One part of the measurements that need a GPU, at most 8 minutes; run it again to go on: bench/gpu.sh train|rows|exact|images
# --toy runs everything at toy size on any machine; --help lists the options.
set -e
here=$(dirname "$0")
if [ -d "$here/../.venv/bin" ]; then PATH="$(cd "$here/../.venv/bin" && pwd):$PATH"; fi
# Backstop of the part's own limit, for a GPU that does not answer. A job that is killed is repeated, or goes on.
exec timeout --signal=INT --kill-after=10 "${GPU_SECONDS:-480}" python "$here/gpu.py" "$@"
