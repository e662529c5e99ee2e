"""The server's command line and environment, rendered from the options.

Flags are those of Triton 2.51, where an unknown one is fatal. The response cache stays off, as
it is unless asked for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from organseg.serving.embedded.installation import Installation
from organseg.serving.embedded.options import LogLevel, ServerOptions
from organseg.serving.embedded.ports import Endpoints
from organseg.serving.engine_choice import ENGINE_VARIABLE
from organseg.serving.threads import THREADS_VARIABLE

ADMIN_HEADER = "organseg-admin-key"
"""The header that opens admin calls: so over HTTP, behind `triton-grpc-protocol-` over gRPC."""

_ADMIN_CALLS = "model-repository,shared-memory,trace,logging"
_ADMIN_CALLS_OF_A_NETWORK = f"{_ADMIN_CALLS},statistics"
_STUB_TIMEOUT_S = 600
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_QUIET = {
    # Threads that wait for work sleep: one that spins takes the core from the one that has work.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    # numpy multiplies no large matrices here; a pool for every core in every stage would idle.
    "OPENBLAS_NUM_THREADS": "1",
}
"""For stages that share few cores; what the user has set is left."""


def server_command(
    installation: Installation,
    model_repository: Path,
    backends: Path,
    endpoints: Endpoints,
    options: ServerOptions,
    name: str,
) -> list[str]:
    """The command line of `tritonserver`; `name` is its own, and prefixes its shared memory."""
    level = options.log_level
    command = [
        str(installation.server),
        f"--id={name}",
        f"--model-repository={model_repository}",
        f"--backend-directory={backends}",
        # Explicit, so that a model whose stub died can be unloaded and loaded again.
        "--model-control-mode=explicit",
        "--load-model=*",
        # Releases carry complete configs; completing them would start every stub twice.
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        "--strict-readiness=true",
        f"--exit-timeout-secs={options.stop_timeout_s}",
        f"--grpc-address={endpoints.address}",
        f"--grpc-port={endpoints.grpc_port}",
        f"--http-address={endpoints.address}",
        f"--http-port={endpoints.http_port}",
        f"--metrics-address={endpoints.address}",
        f"--metrics-port={endpoints.metrics_port}",
        # Loading a language model outlasts the default of 30 s.
        f"--backend-config=python,stub-timeout-seconds={_STUB_TIMEOUT_S}",
        f"--backend-config=python,shm-region-prefix-name={name}-",
        f"--log-warning={'false' if level is LogLevel.ERROR else 'true'}",
        f"--log-info={'true' if level in (LogLevel.INFO, LogLevel.VERBOSE) else 'false'}",
        f"--log-verbose={'1' if level is LogLevel.VERBOSE else '0'}",
    ]
    # Trace settings can make the server write patients' images to disk, and model control can
    # run code. On loopback too: any local user, and any web page in a browser here, could ask.
    calls = _ADMIN_CALLS if endpoints.is_loopback else _ADMIN_CALLS_OF_A_NETWORK
    key = f"{ADMIN_HEADER}={options.admin_key or secrets.token_hex(16)}"
    command.append(f"--grpc-restricted-protocol={calls}:{key}")
    command.append(f"--http-restricted-api={calls}:{key}")
    return command


def server_environment(
    installation: Installation,
    libraries: Sequence[Path],
    options: ServerOptions,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of `tritonserver` and, through it, of every Python model."""
    environment = dict(os.environ if inherited is None else inherited)
    # A stub takes its packages from the first `python3` on PATH, and from nothing else.
    _prepend(environment, "PATH", [installation.python_folder])
    _prepend(environment, "LD_LIBRARY_PATH", libraries)
    # Everything that is served is in the release: nothing is looked up on a network.
    environment.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    for variable, value in _QUIET.items():
        environment.setdefault(variable, value)
    if options.threads is not None:
        variables = (THREADS_VARIABLE, *_THREAD_VARIABLES)
        environment.update(dict.fromkeys(variables, str(options.threads)))
    if options.engine is not None:
        environment[ENGINE_VARIABLE] = options.engine.value
    return environment


def _prepend(environment: dict[str, str], variable: str, folders: Sequence[Path]) -> None:
    entries = [str(folder) for folder in folders]
    # An empty entry would mean the working directory.
    entries += [entry for entry in environment.get(variable, "").split(os.pathsep) if entry]
    environment[variable] = os.pathsep.join(entries)
