"""The CPU image's entry point: the real embedded server under a container's restrictions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from docker_context import REPO_ROOT
from entry_points import (
    CONFINED_SCRATCH,
    DEADLINE_S,
    opens_admin_calls,
    run_entry,
    started,
    wait_for_answer,
)

from organseg.contract import CONTRACT_VERSION
from organseg.serving.manifest import write_manifest

FREE_PORTS = ("--grpc-port=0", "--http-port=0", "--metrics-port=0")


BROKEN_MODEL = "raise RuntimeError('no weights')\n"


def test_the_restrictions_are_real(confine: list[str]) -> None:
    # A checkout below /tmp lies under the layer that is written to.
    kept = "/usr" if REPO_ROOT.is_relative_to("/tmp") else REPO_ROOT
    for folder, can_write in ((kept, False), ("/tmp", True), (CONFINED_SCRATCH, True)):
        written = Path(folder, f"organseg-test-{os.getpid()}")
        touched = subprocess.run([*confine, "touch", written], capture_output=True)
        assert (touched.returncode == 0) == can_write, folder
        assert not written.exists()
    rights = subprocess.run(
        [*confine, "grep", "CapEff", "/proc/self/status"], capture_output=True, text=True
    )
    assert int(rights.stdout.split()[1], 16) == 0


@pytest.mark.server
def test_it_serves_on_a_read_only_root_until_sigterm(
    release: Path,
    confine: list[str],
    image_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    secret = tmp_path / "admin_key"
    secret.write_text("opensesame1\n")
    environment = image_environment | {
        "HOME": CONFINED_SCRATCH,
        "TMPDIR": CONFINED_SCRATCH,
        "ORGANSEG_RELEASE": str(release),
        "ORGANSEG_HOST": "127.0.0.1",
        "ORGANSEG_ADMIN_KEY_FILE": str(secret),
        "ORGANSEG_DRAIN_SECONDS": "5",
    }
    with started(confine, "serve_cpu.sh", environment, *FREE_PORTS) as process:
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        address = re.search(r"gRPC +(\S+)", said)
        assert address is not None, said
        wait_for_answer(address[1], process)
        health = subprocess.run(
            ["organseg", "health", "--url", address[1], "--timeout", "25"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert health.returncode == 0, health.stderr
        assert health.stdout.startswith(f"{address[1]} answered in ")
        assert opens_admin_calls(address[1], "opensesame1")
        assert not opens_admin_calls(address[1], None)
        process.terminate()
        rest, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        assert rest.endswith("Stopped.\n")


def test_a_changed_release_is_refused(
    small_release: Path, image_environment: dict[str, str]
) -> None:
    (small_release / "models" / "gate" / "1" / "model.py").write_text("import antigravity\n")
    environment = image_environment | {"ORGANSEG_RELEASE": str(small_release)}
    refused = run_entry("serve_cpu.sh", environment, *FREE_PORTS)
    assert refused.returncode == 1
    assert "changed: models/gate/1/model.py" in refused.stderr


@pytest.mark.server
def test_why_a_server_did_not_start_is_in_the_containers_log(
    tmp_path: Path, image_environment: dict[str, str]
) -> None:
    release = tmp_path / "broken"
    version = release / "models" / "gate" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(BROKEN_MODEL)
    (version.parent / "config.pbtxt").write_text('name: "gate"\nbackend: "python"\n')
    facts = {"preset": "tiny", "platform": "python", "contract_version": CONTRACT_VERSION}
    write_manifest(release, **facts, trained=False, tools={"toy": "1"})
    environment = image_environment | {"ORGANSEG_RELEASE": str(release)}
    environment["ORGANSEG_HOST"] = "127.0.0.1"
    failed = run_entry("serve_cpu.sh", environment, *FREE_PORTS)
    assert failed.returncode == 1
    assert "no weights" in failed.stderr
    assert "its log, which went by above, says why" in failed.stderr.splitlines()[-1]
