"""What is said of a folder that is no model repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from organseg.errors import ServerStartError
from organseg.serving.embedded.repository import check_model_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "gate" / "1").mkdir(parents=True)
    (tmp_path / "gate" / "config.pbtxt").write_text('name: "gate"\nbackend: "python"\n')
    (tmp_path / "gate" / "1" / "model.py").touch()
    (tmp_path / "organ_seg" / "1").mkdir(parents=True)
    (tmp_path / "organ_seg" / "config.pbtxt").write_text('platform: "ensemble"\n')
    return tmp_path


def test_a_complete_repository_passes(repository: Path) -> None:
    check_model_repository(repository)


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="'nowhere' cannot be read"):
        check_model_repository(tmp_path / "nowhere")


def test_an_empty_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="but there are none"):
        check_model_repository(tmp_path)


def test_a_model_without_config_is_named(repository: Path) -> None:
    (repository / "gate" / "config.pbtxt").unlink()
    with pytest.raises(ServerStartError, match=r"config\.pbtxt in the model 'gate'"):
        check_model_repository(repository)


def test_a_model_without_version_is_named(repository: Path) -> None:
    (repository / "organ_seg" / "1").rmdir()
    with pytest.raises(ServerStartError, match="version folder such as 1/ in the model 'organ"):
        check_model_repository(repository)


def test_a_python_model_without_its_module_is_named(repository: Path) -> None:
    (repository / "gate" / "1" / "model.py").unlink()
    with pytest.raises(ServerStartError, match=r"model\.py in version 1 of the model 'gate'"):
        check_model_repository(repository)
