#!/bin/sh
# The GPU image's entry point: checks a release, then becomes the image's own `tritonserver`.
#
# ORGANSEG_RELEASE             the release folder (default /release)
# ORGANSEG_DRAIN_SECONDS       how long requests in flight may take when it stops (default 30); the
#                              container's stop timeout must be longer
# ORGANSEG_CONNECTION_SECONDS  how long a gRPC connection lives (default 300), so that clients come
#                              back to the load balancer, and a server that it left runs dry
# ORGANSEG_ADMIN_KEY[_FILE]    see admin_key.sh
#
# Arguments go to tritonserver as they are: the place for flags that only newer servers know, since
# an unknown flag is fatal. All flags below are known to 2.51 (24.10) and later.
set -eu

# shellcheck source=docker/admin_key.sh
. "$(dirname "$0")/admin_key.sh"
release=${ORGANSEG_RELEASE:-/release}

# Docker's default of 64 MiB ends in a bus error inside the server, long after the start.
shared_mib=$(df -Pk /dev/shm | awk 'NR == 2 { print int($2 / 1024) }')
if [ "$shared_mib" -lt "${ORGANSEG_SHARED_MEMORY_MIB:=2048}" ]; then
    echo "organseg: wanted $ORGANSEG_SHARED_MEMORY_MIB MiB in /dev/shm, got $shared_mib MiB: give" \
        "the container more (\`docker run --shm-size=2g\`, \`shm_size: 2gb\`)" >&2
    exit 1
fi
organseg verify "$release"

key=${ORGANSEG_ADMIN_KEY:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
unset ORGANSEG_ADMIN_KEY
# Trace settings can make the server write patients' images to disk, and model control can run code.
closed="model-repository,shared-memory,trace,logging,statistics:organseg-admin-key=$key"

# Model control is explicit so that a model whose process died can be unloaded and loaded again.
# The response cache stays off, as it is unless asked for: its key leaves shapes and parameters out.
# Releases carry complete configs; completing them would start every Python model twice.
# Loading a language model outlasts the Python backend's default of 30 s.
exec tritonserver \
    --model-repository="$release/models" \
    --model-control-mode=explicit \
    --load-model='*' \
    --disable-auto-complete-config \
    --exit-on-error=true \
    --strict-readiness=true \
    --exit-timeout-secs="${ORGANSEG_DRAIN_SECONDS:-30}" \
    --grpc-max-connection-age="${ORGANSEG_CONNECTION_SECONDS:-300}000" \
    --grpc-restricted-protocol="$closed" \
    --http-restricted-api="$closed" \
    --backend-config=python,stub-timeout-seconds=600 \
    --log-verbose=0 \
    "$@"
