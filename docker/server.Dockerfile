# The GPU images: `server` (the last target) and `exporter`, on one tag of NVIDIA's Triton image, so
# that engines are built by the TensorRT that loads them.
#   docker build -f docker/server.Dockerfile --target exporter -t organseg/exporter .
#   docker build -f docker/server.Dockerfile --target server -t organseg/server .
ARG TRITON_TAG=26.07-py3
ARG PYTHON_TAG=3.11.14-slim-bookworm

# The wheel is the same for every Python; this stage is that of cpu.Dockerfile.
FROM python:${PYTHON_TAG} AS wheel
WORKDIR /build
COPY constraints/embedded.txt constraints/
RUN pip install --no-cache-dir -c constraints/embedded.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY organseg organseg
COPY client client
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

# Triton's Python backend takes its packages from the first `python3` on PATH: an environment of its
# own, whose pip is the image's. The lists are complete, so nothing is resolved.
FROM nvcr.io/nvidia/tritonserver:${TRITON_TAG} AS environment
WORKDIR /build
COPY constraints/container.txt constraints/
RUN python3 -m venv --without-pip /opt/organseg \
    && python3 -m pip --python /opt/organseg/bin/python3 install --no-cache-dir --no-deps \
    -r constraints/container.txt
COPY --from=wheel /wheels /wheels
RUN python3 -m pip --python /opt/organseg/bin/python3 install --no-cache-dir --no-deps \
    /wheels/*.whl \
    && python3 -m pip --python /opt/organseg/bin/python3 check
# Nothing below is written to but /tmp, which is to be a tmpfs, and the exporter's /releases.
ENV HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1

FROM environment AS exporter
# The bindings' package for the image's CUDA; their version is the image's TensorRT's.
ARG TENSORRT_PACKAGE=tensorrt_cu13_bindings
ARG TENSORRT_VERSION=""
COPY constraints/container-export.txt constraints/
RUN python3 -m pip --python /opt/organseg/bin/python3 install --no-cache-dir --no-deps \
    -r constraints/container-export.txt
COPY docker/tensorrt_bindings.sh /opt/organseg/entry/
RUN /opt/organseg/entry/tensorrt_bindings.sh /opt/organseg/bin/python3 "$TENSORRT_PACKAGE" \
    "$TENSORRT_VERSION"
ENV PATH=/opt/organseg/bin:$PATH
WORKDIR /opt/organseg/work
COPY export export
COPY model_repository model_repository
COPY docker/export_release.sh /opt/organseg/entry/
# A volume that is empty takes its owner from here.
RUN install -d -o 1000 -g 1000 /releases /checkpoint
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/organseg/entry/export_release.sh"]

FROM environment AS server
ENV PATH=/opt/organseg/bin:$PATH \
    ORGANSEG_RELEASE=/release
COPY docker/admin_key.sh docker/serve_gpu.sh /opt/organseg/entry/
WORKDIR /tmp
# The image's own user for Triton has this number.
USER 1000:1000
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=30s --start-period=10m --retries=3 \
    CMD ["organseg", "health", "--url", "127.0.0.1:8001", "--timeout", "25"]
ENTRYPOINT ["/opt/organseg/entry/serve_gpu.sh"]
# Flags that servers before 25.06 do not know: an image of 64 MiB and its question fit a request.
CMD ["--http-max-input-size=134217728"]
