#!/bin/sh
# The CPU image's entry point: checks a release and serves it with the embedded Triton.
#
# ORGANSEG_RELEASE           the release folder (default /release, which holds `tiny`)
# ORGANSEG_HOST              the address to listen on (default 0.0.0.0, all of the container's)
# ORGANSEG_DRAIN_SECONDS     how long requests in flight may take when it stops (default 30); the
#                            container's stop timeout must be longer
# ORGANSEG_ADMIN_KEY[_FILE]  see admin_key.sh
# TMPDIR                     scratch space (default /tmp). Triton's Python backend writes to /tmp whatever
#                            this says, and both to /dev/shm; nothing else is written to
#
# Arguments go to `organseg serve` as they are.
set -eu

# shellcheck source=docker/admin_key.sh
. "$(dirname "$0")/admin_key.sh"

exec organseg serve "${ORGANSEG_RELEASE:-/release}" \
    --host "${ORGANSEG_HOST:-0.0.0.0}" \
    --stop-timeout "${ORGANSEG_DRAIN_SECONDS:-30}" \
    --log-level warning \
    --log-file /dev/stderr \
    "$@"
