"""The GPU image's entry point: what it gives `tritonserver`, and that a real one takes it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from entry_points import (
    CONFINED_SCRATCH,
    DEADLINE_S,
    opens_admin_calls,
    run_entry,
    started,
    wait_for_answer,
    write_program,
)

from organseg.serving.embedded import ServerOptions
from organseg.serving.embedded.installation import (
    find_installation,
    link_backends,
    link_libraries,
)
from organseg.serving.embedded.machine import MIN_SHARED_MEMORY_MIB
from organseg.serving.embedded.ports import claim_endpoints

CLOSED = "model-repository,shared-memory,trace,logging,statistics"


@pytest.fixture
def environment(
    small_release: Path, programs: Path, image_environment: dict[str, str], tmp_path: Path
) -> dict[str, str]:
    """An image whose `tritonserver` notes how it was called."""
    called = shlex.quote(str(tmp_path / "called"))
    write_program(programs / "tritonserver", f'printf "%s\\n" "$@" > {called}; env >> {called}')
    # Shared memory of the size that every machine has that can run these tests at all.
    return image_environment | {
        "ORGANSEG_RELEASE": str(small_release),
        "ORGANSEG_SHARED_MEMORY_MIB": str(MIN_SHARED_MEMORY_MIB),
    }


def _called(tmp_path: Path) -> list[str]:
    return (tmp_path / "called").read_text().splitlines()


def test_a_checked_release_is_given_to_tritonserver_with_every_flag(
    environment: dict[str, str], small_release: Path, tmp_path: Path
) -> None:
    environment |= {"ORGANSEG_ADMIN_KEY": "abc1", "ORGANSEG_DRAIN_SECONDS": "7"}
    run = run_entry("serve_gpu.sh", environment, "--http-max-input-size=1", "--id=a b")
    assert run.returncode == 0, run.stderr
    assert "1 files are as they were made" in run.stdout
    called = _called(tmp_path)
    flags = [line for line in called if line.startswith("--")]
    assert flags == [
        f"--model-repository={small_release}/models",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        "--strict-readiness=true",
        "--exit-timeout-secs=7",
        "--grpc-max-connection-age=300000",
        f"--grpc-restricted-protocol={CLOSED}:organseg-admin-key=abc1",
        f"--http-restricted-api={CLOSED}:organseg-admin-key=abc1",
        "--backend-config=python,stub-timeout-seconds=600",
        "--log-verbose=0",
        "--http-max-input-size=1",
        "--id=a b",
    ]
    assert not any("cache" in flag for flag in flags)
    # Models run in the server's environment, where the key has nothing to do.
    assert not any(line.startswith("ORGANSEG_ADMIN_KEY") for line in called)


def test_without_a_key_admin_calls_are_closed_by_another_one_each_time(
    environment: dict[str, str], tmp_path: Path
) -> None:
    keys = set()
    for _ in range(2):
        assert run_entry("serve_gpu.sh", environment).returncode == 0
        text = "\n".join(_called(tmp_path))
        found = set(re.findall(rf"{CLOSED}:organseg-admin-key=(\w+)$", text, re.MULTILINE))
        assert len(found) == 1
        keys |= found
    assert len(keys) == 2
    assert all(len(key) == 32 for key in keys)


def test_a_release_with_a_wrong_hash_is_refused_before_the_server_starts(
    environment: dict[str, str], small_release: Path, tmp_path: Path
) -> None:
    (small_release / "models" / "gate" / "1" / "model.py").write_text("import antigravity\n")
    refused = run_entry("serve_gpu.sh", environment)
    assert refused.returncode == 1
    assert "changed: models/gate/1/model.py" in refused.stderr
    assert not (tmp_path / "called").exists()


def test_dockers_little_shared_memory_is_refused_with_the_option(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["ORGANSEG_SHARED_MEMORY_MIB"] = str(2**40)
    refused = run_entry("serve_gpu.sh", environment)
    assert refused.returncode == 1
    assert "--shm-size=2g" in refused.stderr
    assert not (tmp_path / "called").exists()


@pytest.mark.server
def test_a_real_tritonserver_takes_the_flags_on_a_read_only_root_until_sigterm(
    release: Path,
    environment: dict[str, str],
    programs: Path,
    confine: list[str],
    tmp_path: Path,
) -> None:
    # Triton 2.51 of the wheel has its backends elsewhere; the image's finds its own.
    installation = find_installation()
    libraries = ":".join(map(str, link_libraries(installation, tmp_path)))
    backends = link_backends(installation, tmp_path)
    write_program(
        programs / "tritonserver",
        f'LD_LIBRARY_PATH="{libraries}" exec "{installation.server}" '
        f'--backend-directory="{backends}" "$@"',
    )
    ends = claim_endpoints(ServerOptions(grpc_port=0, http_port=0, metrics_port=0))
    flags = [
        f"--{name}={value}"
        for protocol, port in (
            ("grpc", ends.grpc_port),
            ("http", ends.http_port),
            ("metrics", ends.metrics_port),
        )
        for name, value in ((f"{protocol}-address", "127.0.0.1"), (f"{protocol}-port", port))
    ]
    environment |= {"ORGANSEG_RELEASE": str(release), "ORGANSEG_ADMIN_KEY": "abc1"}
    address = f"127.0.0.1:{ends.grpc_port}"
    environment |= {"HOME": CONFINED_SCRATCH, "TMPDIR": CONFINED_SCRATCH}
    with started(confine, "serve_gpu.sh", environment, *flags) as process:
        wait_for_answer(address, process)
        asked = subprocess.run(["organseg", "health", "--url", address], env=environment)
        assert asked.returncode == 0
        assert opens_admin_calls(address, "abc1")
        assert not opens_admin_calls(address, "abc2")
        process.terminate()
        said, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
