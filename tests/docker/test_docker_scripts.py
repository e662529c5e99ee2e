"""The shell scripts of docker/: sound, executable, and agreed on what an admin key is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docker_context import DOCKER

SCRIPTS = sorted(DOCKER.glob("*.sh"))
PRINT_KEY = f'. {DOCKER / "admin_key.sh"}; echo "${{ORGANSEG_ADMIN_KEY-none}}"'


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_script_is_one_for_every_shell(script: Path, shell: str) -> None:
    subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_no_complaint(script: Path) -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    checked = subprocess.run(
        [shellcheck, "-x", script], cwd=DOCKER.parent, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_unless_it_is_sourced(script: Path) -> None:
    is_program = script.read_text().startswith("#!")
    assert os.access(script, os.X_OK) == is_program
    assert is_program == (script.name != "admin_key.sh")


def _key(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.defpath, **variables}
    command = ["sh", "-euc", PRINT_KEY]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_a_key_comes_from_a_file_before_the_variable(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("fromfile1\n")
    assert _key(ORGANSEG_ADMIN_KEY="fromvariable").stdout == "fromvariable\n"
    both = _key(ORGANSEG_ADMIN_KEY_FILE=str(secret), ORGANSEG_ADMIN_KEY="fromvariable")
    assert both.stdout == "fromfile1\n"


def test_an_empty_key_is_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    assert _key().stdout == "none\n"
    assert _key(ORGANSEG_ADMIN_KEY="").stdout == "none\n"
    assert _key(ORGANSEG_ADMIN_KEY_FILE=str(secret)).stdout == "none\n"


def test_a_key_that_is_no_word_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for variables, words in (
        ({"ORGANSEG_ADMIN_KEY": "two words"}, "letters and digits only"),
        ({"ORGANSEG_ADMIN_KEY_FILE": str(tmp_path / "missing")}, "mount the secret"),
    ):
        refused = _key(**variables)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert words in refused.stderr
        assert "two words" not in refused.stderr
