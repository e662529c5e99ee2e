#!/bin/sh
# The exporter image's entry point: makes the release that this GPU serves, unless it is there.
#
# ORGANSEG_PRESET      tiny, medsam or llava-med-7b (default tiny)
# ORGANSEG_PLATFORM    tensorrt or onnxruntime (default tensorrt)
# ORGANSEG_PRECISION   fp32, bf16 or fp16 (default fp32)
# ORGANSEG_RELEASE     the release folder to make (default /releases/PRESET-PLATFORM-PRECISION)
# ORGANSEG_CHECKPOINT  a folder of trained weights (default /checkpoint); where it is empty or
#                      missing, `tiny` is exported with the weights of the repository
#
# Arguments go to `python -m export` as they are. Beside the release lies a file RELEASE.recipe, the
# hash of all that it was made from. A release of the same recipe that `organseg verify` lets pass is
# kept; one of another recipe, or for another TensorRT or GPU, is made anew and put in its place
# in one step; one without a recipe was not made here and is never touched.
set -eu

preset=${ORGANSEG_PRESET:-tiny}
platform=${ORGANSEG_PLATFORM:-tensorrt}
precision=${ORGANSEG_PRECISION:-fp32}
checkpoint=${ORGANSEG_CHECKPOINT:-/checkpoint}
release=${ORGANSEG_RELEASE:-/releases/$preset-$platform-$precision}

set -- --preset "$preset" --platform "$platform" --precision "$precision" "$@"
weights=
if [ -n "$(ls -A "$checkpoint" 2>/dev/null || true)" ]; then
    weights=$checkpoint
    set -- "$@" --checkpoint "$weights"
fi

# The working folder holds export/ and model_repository/.
code=$(python3 -c 'import organseg, os; print(os.path.dirname(organseg.__file__))')
hashes=$(find "$code" export model_repository ${weights:+"$weights"} \
    -name __pycache__ -prune -o -type f -exec sha256sum {} + | sort)
recipe=$(printf '%s\n' "$*" "$hashes" | sha256sum | cut -d ' ' -f 1)

if [ -e "$release" ]; then
    if [ ! -e "$release.recipe" ]; then
        organseg verify "$release"
        echo "kept: $release was not made by this exporter"
        exit 0
    fi
    if [ "$(cat "$release.recipe")" = "$recipe" ] && organseg verify "$release"; then
        echo "kept: $release is made of the same, and fits"
        exit 0
    fi
    set -- "$@" --replace
fi
# The kernel times of earlier builds, for the engines of later ones.
if [ "$platform" = tensorrt ]; then
    set -- "$@" --timing-cache "$release.timing"
fi
# Should this be cut short, the next run makes the release anew.
echo unfinished >"$release.recipe"
python3 -m export --out "$release" "$@"
echo "$recipe" >"$release.recipe"
organseg verify "$release"
