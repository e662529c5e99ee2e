#!/bin/sh
# Installs the Python bindings of the TensorRT that the image carries; run while the image is built.
#
#   tensorrt_bindings.sh PYTHON PACKAGE [VERSION]
#
# PYTHON is the environment's interpreter, which has organseg; PACKAGE is the bindings' package for
# the image's CUDA, such as tensorrt_cu13_bindings. Its wheel has no libraries of its own: it
# loads those of the image, which also serve. VERSION is asked of the image unless given.
set -eu

python=$1
package=$2
version=${3:-}
ask='from organseg.serving.gpu_machine import this_machine; print(this_machine().tensorrt or "")'
if [ -z "$version" ]; then
    version=$("$python" -c "$ask")
fi
if [ -z "$version" ]; then
    echo "organseg: wanted the version of this image's TensorRT, its library does not load here:" \
        "name it with the build argument TENSORRT_VERSION" >&2
    exit 1
fi
python3 -m pip --python "$python" install --no-cache-dir --no-deps "$package==$version.*"
# The exporter, like all code, knows the bindings by the name of the package around them.
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat >"$packages/tensorrt.py" <<'PYTHON'
"""TensorRT's bindings by the name that the world knows them by."""
from tensorrt_bindings import *
from tensorrt_bindings import __version__
PYTHON
