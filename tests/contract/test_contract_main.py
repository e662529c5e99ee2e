"""`python -m organseg.contract`: writes what is rendered, and notices drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from organseg.contract.__main__ import GOLDEN_FOLDER, main, rendered_files

REPO_ROOT = Path(__file__).resolve().parents[2]


def test_no_rendered_file_of_this_checkout_has_drifted(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--check", "--root", str(REPO_ROOT)])
    assert code == 0, f"{capsys.readouterr().err}"


def test_no_golden_is_left_of_a_model_that_is_gone() -> None:
    kept = {
        path.relative_to(REPO_ROOT).as_posix()
        for path in (REPO_ROOT / GOLDEN_FOLDER).rglob("*")
        if path.is_file()
    }
    assert kept == {path for path in rendered_files() if path.startswith(GOLDEN_FOLDER)}


def test_an_empty_folder_is_filled_and_then_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{len(rendered_files())} written\n"
    assert main(["--check", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "all rendered files are up to date\n"


@pytest.mark.parametrize(
    "relative",
    [
        "docs/contract.md",
        "model_repository/gate/config.pbtxt",
        "model_repository/llava_med/warmup/question",
        f"{GOLDEN_FOLDER}/llava-med-7b-tensorrt/mask_decoder.pbtxt",
    ],
)
def test_a_planted_change_or_a_missing_file_is_drift_and_is_not_mended_by_a_check(
    relative: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--root", str(tmp_path)])
    path = tmp_path / relative
    path.write_bytes(path.read_bytes() + b"# planted\n")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    complaint = capsys.readouterr().err
    assert relative in complaint
    assert "run `make contract`" in complaint
    assert path.read_bytes().endswith(b"# planted\n")

    path.unlink()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    assert not path.exists()

    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
