"""Which options a server can run with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from organseg.contract import CpuEngine
from organseg.errors import ServerStartError
from organseg.serving.embedded import LogLevel, ServerOptions
from organseg.serving.embedded.installation import Installation
from organseg.serving.embedded.invocation import server_command, server_environment
from organseg.serving.embedded.ports import Endpoints
from organseg.serving.engine_choice import ENGINE_VARIABLE
from organseg.serving.threads import THREADS_VARIABLE

TRITON = Installation(
    server=Path("/wheel/tritonserver"),
    libraries=Path("/wheel/libraries"),
    python_backend=Path("/wheel/backends/python"),
    stub=Path("/wheel/stub"),
    python_folder=Path("/environment/bin"),
    libpython=None,
)


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"grpc_port": -1}, "--grpc-port"),
        ({"http_port": 65536}, "--http-port"),
        ({"metrics_port": 8001}, "--metrics-port"),
        ({"threads": 0}, "--threads"),
        ({"ready_timeout_s": 0.0}, "--ready-timeout"),
        ({"ready_timeout_s": math.nan}, "--ready-timeout"),
        ({"stop_timeout_s": 0}, "--stop-timeout"),
        ({"admin_key": "two words"}, "admin key"),
    ],
)
def test_an_impossible_value_is_refused_by_the_name_of_its_option(
    values: dict[str, object], option: str
) -> None:
    with pytest.raises(ServerStartError, match=option):
        ServerOptions(**values)


def test_several_ports_may_be_picked() -> None:
    assert ServerOptions(grpc_port=0, http_port=0, metrics_port=0).picks_ports
    assert not ServerOptions().picks_ports


def _command(address: str, **options: object) -> list[str]:
    return server_command(
        TRITON,
        Path("/release/models"),
        Path("/private/backends"),
        Endpoints(address, 1, 2, 3),
        ServerOptions(**options),
        "organseg-1",
    )


def test_on_loopback_all_admin_calls_but_statistics_need_the_key() -> None:
    flags = [flag for flag in _command("127.0.0.1", admin_key="abc") if "restricted" in flag]
    calls = "model-repository,shared-memory,trace,logging:organseg-admin-key=abc"
    assert flags == [f"--grpc-restricted-protocol={calls}", f"--http-restricted-api={calls}"]


def test_on_a_network_admin_calls_need_the_key() -> None:
    flags = [flag for flag in _command("0.0.0.0", admin_key="abc") if "restricted" in flag]
    calls = "model-repository,shared-memory,trace,logging,statistics:organseg-admin-key=abc"
    assert flags == [f"--grpc-restricted-protocol={calls}", f"--http-restricted-api={calls}"]


def test_a_key_that_was_not_given_differs_from_start_to_start() -> None:
    assert _command("0.0.0.0") != _command("0.0.0.0")


@pytest.mark.parametrize(
    ("level", "flags"),
    [
        (LogLevel.ERROR, ("--log-warning=false", "--log-info=false", "--log-verbose=0")),
        (LogLevel.WARNING, ("--log-warning=true", "--log-info=false", "--log-verbose=0")),
        (LogLevel.INFO, ("--log-warning=true", "--log-info=true", "--log-verbose=0")),
        (LogLevel.VERBOSE, ("--log-warning=true", "--log-info=true", "--log-verbose=1")),
    ],
)
def test_each_log_level_includes_those_before_it(level: LogLevel, flags: tuple[str, ...]) -> None:
    assert set(flags) <= set(_command("127.0.0.1", log_level=level))


def test_the_environments_python_and_the_wheels_libraries_come_first() -> None:
    inherited = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/lib:", "HOME": "/home/jo"}
    environment = server_environment(TRITON, [TRITON.libraries], ServerOptions(), inherited)
    assert environment["PATH"] == "/environment/bin:/usr/bin"
    assert environment["LD_LIBRARY_PATH"] == "/wheel/libraries:/opt/lib"
    assert environment["HOME"] == "/home/jo"
    assert environment["HF_HUB_OFFLINE"] == environment["TRANSFORMERS_OFFLINE"] == "1"
    assert "OMP_NUM_THREADS" not in environment


def test_threads_reach_the_numeric_libraries() -> None:
    environment = server_environment(TRITON, [], ServerOptions(threads=3), {})
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"
    assert environment[THREADS_VARIABLE] == "3"


def test_threads_without_work_sleep_unless_the_user_wants_them_to_spin() -> None:
    quiet = server_environment(TRITON, [], ServerOptions(), {})
    assert quiet["OMP_WAIT_POLICY"] == "PASSIVE"
    assert quiet["OPENBLAS_NUM_THREADS"] == "1"
    spinning = server_environment(TRITON, [], ServerOptions(), {"OMP_WAIT_POLICY": "ACTIVE"})
    assert spinning["OMP_WAIT_POLICY"] == "ACTIVE"


def test_the_users_engine_reaches_every_model_and_without_one_the_table_holds() -> None:
    chosen = server_environment(TRITON, [], ServerOptions(engine=CpuEngine.OPENVINO), {})
    assert chosen[ENGINE_VARIABLE] == "openvino"
    assert ENGINE_VARIABLE not in server_environment(TRITON, [], ServerOptions(), {})
