"""What a release's manifest holds, and what it finds."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from organseg.errors import ReleaseError
from organseg.serving.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Manifest,
    read_manifest,
    verify_release,
    write_manifest,
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "models" / "gate" / "1").mkdir(parents=True)
    (folder / "models" / "gate" / "config.pbtxt").write_text('name: "gate"\n')
    (folder / "models" / "gate" / "1" / "model.py").write_text("pass\n")
    (folder / "LICENSE").write_text("Apache-2.0\n")
    _write(folder)
    return folder


def _write(folder: Path) -> Manifest:
    return write_manifest(
        folder,
        preset="tiny",
        platform="python",
        contract_version="0123456789ab",
        trained=False,
        tools={"torch": "2.13.0", "onnx": "1.23"},
        parity=[{"graph": "image_encoder", "batch": 3, "largest_difference": 3e-7}],
    )


def _edit(release: Path, **changes: object) -> None:
    path = release / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_reading_gives_back_what_was_written(release: Path) -> None:
    written = _write(release)
    assert read_manifest(release) == written
    assert verify_release(release) == written
    assert written.tools == {"onnx": "1.23", "torch": "2.13.0"}


def test_every_file_but_the_manifest_is_hashed(release: Path) -> None:
    files = read_manifest(release).files
    assert sorted(files) == ["LICENSE", "models/gate/1/model.py", "models/gate/config.pbtxt"]
    assert files["models/gate/1/model.py"] == hashlib.sha256(b"pass\n").hexdigest()


def test_the_time_of_writing_is_utc(release: Path) -> None:
    assert read_manifest(release).created.endswith("+00:00")


def test_a_failed_write_leaves_the_old_manifest_and_no_other_file(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (release / MANIFEST_NAME).read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        _write(release)
    assert (release / MANIFEST_NAME).read_bytes() == before
    assert sorted(path.name for path in release.iterdir()) == ["LICENSE", MANIFEST_NAME, "models"]


def test_a_changed_file_is_named(release: Path) -> None:
    (release / "models" / "gate" / "1" / "model.py").write_text("fail\n")
    with pytest.raises(ReleaseError, match=r"changed: models/gate/1/model\.py.*python -m export"):
        verify_release(release)


def test_a_missing_file_is_named(release: Path) -> None:
    (release / "models" / "gate" / "config.pbtxt").unlink()
    with pytest.raises(ReleaseError, match=r"missing: models/gate/config\.pbtxt"):
        verify_release(release)


def test_an_extra_file_among_the_models_is_named(release: Path) -> None:
    (release / "models" / "gate" / "1" / "other.py").write_text("")
    with pytest.raises(ReleaseError, match=r"not part of it: models/gate/1/other\.py"):
        verify_release(release)


def test_many_findings_are_cut_short(release: Path) -> None:
    for number in range(8):
        (release / "models" / f"extra_{number}").write_text("")
    with pytest.raises(ReleaseError, match=r"extra_4 and 3 more"):
        verify_release(release)


def test_byte_code_that_a_server_left_is_no_change(release: Path) -> None:
    cache = release / "models" / "gate" / "1" / "__pycache__"
    cache.mkdir()
    (cache / "model.cpython-311.pyc").write_bytes(b"\0")
    verify_release(release)


def test_a_note_beside_the_models_is_no_change(release: Path) -> None:
    (release / "NOTE.txt").write_text("seen by Jo")
    verify_release(release)


@pytest.mark.parametrize("target", ["file", "folder"])
def test_symbolic_links_are_refused(release: Path, tmp_path: Path, target: str) -> None:
    aim = tmp_path / target
    aim.mkdir() if target == "folder" else aim.write_text("")
    (release / "models" / "gate" / "linked").symlink_to(aim)
    with pytest.raises(ReleaseError, match="models/gate/linked is a symbolic link"):
        verify_release(release)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"there is no folder 'nowhere': export it again"):
        verify_release(tmp_path / "nowhere")


def test_an_empty_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"the folder is empty: export it again"):
        verify_release(tmp_path)


def test_a_missing_manifest_is_said_so(release: Path) -> None:
    (release / MANIFEST_NAME).unlink()
    with pytest.raises(ReleaseError, match=r"has no manifest\.json: export it again"):
        verify_release(release)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "[]", "null"])
def test_a_manifest_that_is_no_json_object_is_refused(release: Path, text: str) -> None:
    (release / MANIFEST_NAME).write_text(text)
    with pytest.raises(ReleaseError, match=r"manifest"):
        verify_release(release)


def test_a_manifest_that_is_not_text_is_refused(release: Path) -> None:
    (release / MANIFEST_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReleaseError, match="UnicodeDecodeError"):
        verify_release(release)


@pytest.mark.parametrize("schema", [SCHEMA_VERSION + 1, 1, None, str(SCHEMA_VERSION)])
def test_another_schema_is_refused(release: Path, schema: object) -> None:
    _edit(release, schema=schema)
    with pytest.raises(ReleaseError, match=f"wanted a manifest of schema {SCHEMA_VERSION}, got"):
        verify_release(release)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("preset", None), ("trained", "yes"), ("files", []), ("files", {"a": 1}), ("parity", {})),
        *(("precision", 1), ("below_bar", "no"), ("acceptance", [])),
    ],
)
def test_a_field_of_the_wrong_type_is_named(release: Path, field: str, value: object) -> None:
    _edit(release, **{field: value})
    with pytest.raises(ReleaseError, match=repr(field)):
        verify_release(release)


def test_a_release_without_models_is_neither_written_nor_served(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(ReleaseError, match="wanted models in models/"):
        _write(tmp_path)
    assert not (tmp_path / MANIFEST_NAME).exists()


def test_sources_are_kept_and_must_be_a_list(release: Path) -> None:
    record = {"part": "medsam", "name": "wanglab/medsam-vit-base", "sha256": {"a.pth": "0" * 64}}
    write_manifest(
        release,
        preset="tiny",
        platform="python",
        contract_version="0123456789ab",
        trained=True,
        tools={},
        sources=[record],
    )
    assert read_manifest(release).sources == (record,)
    _edit(release, sources="none")
    with pytest.raises(ReleaseError, match="'sources' as list"):
        read_manifest(release)
