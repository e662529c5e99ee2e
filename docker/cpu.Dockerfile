# The CPU image: the embedded Triton server with a release of `tiny` inside.
#   docker build -f docker/cpu.Dockerfile -t organseg/cpu .
ARG PYTHON_TAG=3.11.14-slim-bookworm

FROM python:${PYTHON_TAG} AS wheel
WORKDIR /build
COPY constraints/embedded.txt constraints/
RUN pip install --no-cache-dir -c constraints/embedded.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY organseg organseg
COPY client client
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels .

FROM python:${PYTHON_TAG} AS environment
# Without its own index torch brings CUDA, some gigabytes.
ARG TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
WORKDIR /build
COPY constraints/embedded.txt constraints/
RUN python3 -m venv /opt/organseg
ENV PATH=/opt/organseg/bin:$PATH
# Word by word: TORCH_ARGS holds several.
# hadolint ignore=SC2086
RUN pip install --no-cache-dir --no-deps -c constraints/embedded.txt $TORCH_ARGS torch
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c constraints/embedded.txt "$(echo /wheels/*.whl)[serve]" \
    && pip check

FROM environment AS release
RUN pip install --no-cache-dir -c constraints/embedded.txt onnx onnxscript
COPY export export
COPY model_repository model_repository
ARG PRESET=tiny
RUN python3 -m export --preset "$PRESET" --platform python --out /release

FROM python:${PYTHON_TAG} AS server
# A number, so that a platform can see that it is not root.
RUN useradd --uid 1000 --no-create-home --shell /usr/sbin/nologin organseg
COPY --from=environment /opt/organseg /opt/organseg
COPY --from=release /release /release
COPY docker/admin_key.sh docker/serve_cpu.sh /opt/organseg/entry/
# The release and the environment are never written to; /tmp is to be a tmpfs.
ENV PATH=/opt/organseg/bin:$PATH \
    HOME=/tmp \
    TMPDIR=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 \
    ORGANSEG_RELEASE=/release
WORKDIR /tmp
USER 1000:1000
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=30s --start-period=5m --retries=3 \
    CMD ["organseg", "health", "--url", "127.0.0.1:8001", "--timeout", "25"]
ENTRYPOINT ["/opt/organseg/entry/serve_cpu.sh"]
