"""Parts from paths and from a hub: found, agreed to, resumed, recorded, or refused by name.

The hub is a server on this machine; the client is huggingface_hub itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys

import huggingface_hub
import pytest
from huggingface_hub import constants
from local_hub import LocalHub, Model, serve

from organseg.errors import CheckpointError, SourceError
from organseg.networks.hub import Hub
from organseg.networks.licences import licence_of
from organseg.networks.sources import (
    HEADS,
    LLAVA_MED,
    MEDSAM,
    VISION_TOWER,
    Part,
    resolve,
)

BIG = bytes(range(256)) * 400
"""A large file of about a hundred kilobytes."""
LLAVA = "microsoft/llava-med-v1.5-mistral-7b"
MEDSAM_ID = "wanglab/medsam-vit-base"
GATED, PLAIN = "some/gated", "some/plain"
CUT = 40_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A hub with four models; huggingface_hub writes each kilobyte at once."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    huggingface_hub.close_session()
    hub = LocalHub(
        {
            MEDSAM_ID: Model(
                {
                    "config.json": b"{}",
                    "pytorch_model.bin": BIG,
                    "model.safetensors": BIG[::-1],
                    "README.md": b"card",
                },
                licence="apache-2.0",
            ),
            LLAVA: Model({"config.json": b"{}", "notes.txt": b"no weights"}),
            GATED: Model({"medsam_vit_b.pth": BIG}, licence="other", is_gated=True),
            PLAIN: Model({"medsam_vit_b.pth": BIG}),
        }
    )
    with serve(hub):
        yield hub
    huggingface_hub.close_session()


@pytest.fixture
def here(remote, tmp_path) -> Hub:
    return Hub(remote.endpoint, tmp_path / "cache")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_path_is_taken_as_it_is_with_the_hash_of_what_is_read(tmp_path):
    (tmp_path / "medsam_vit_b.pth").write_bytes(BIG)
    (tmp_path / "notes.txt").write_bytes(b"not read")
    for path in (tmp_path, tmp_path / "medsam_vit_b.pth"):
        source = resolve(str(path), MEDSAM)
        assert (source.hub_id, source.revision, source.licence) == (None, None, None)
        assert source.path == path
        assert dict(source.sha256) == {"medsam_vit_b.pth": sha256(BIG)}
    # A manifest travels: it names the folder and not where it lies.
    assert str(tmp_path.parent) not in json.dumps(source.to_json())


def test_only_what_is_needed_is_downloaded_and_recorded_with_commit_and_licence(remote, here):
    source = resolve(MEDSAM_ID, MEDSAM, accept_licence=True, hub=here)
    assert [name for name, _ in remote.sent] == ["model.safetensors"]
    assert dict(source.sha256) == {"model.safetensors": sha256(BIG[::-1])}
    assert source.revision == remote.models[MEDSAM_ID].revision
    assert (source.hub_id, source.licence) == (MEDSAM_ID, "Apache-2.0")
    assert (source.path / "model.safetensors").read_bytes() == BIG[::-1]
    record = source.to_json()
    assert (record["name"], record["revision"]) == (MEDSAM_ID, source.revision)


def test_what_is_in_the_cache_is_not_downloaded_again_and_asks_for_nothing(remote, here):
    first = resolve(MEDSAM_ID, MEDSAM, accept_licence=True, hub=here)
    remote.sent.clear()
    again = resolve(f"{MEDSAM_ID}@{first.revision}", MEDSAM, hub=here)
    assert again == first
    assert remote.sent == []


def test_the_licence_is_shown_before_anything_is_downloaded_and_wants_agreement(
    remote, here, capsys
):
    with pytest.raises(SourceError, match=r"nothing was downloaded.*--accept-licence"):
        resolve(MEDSAM_ID, MEDSAM, hub=here)
    said = capsys.readouterr().err
    assert "Apache-2.0" in said
    assert f"{remote.endpoint}/{MEDSAM_ID}" in said
    assert remote.sent == []


@pytest.mark.parametrize(("typed", "agreed"), [("yes\n", True), ("y\n", False), ("", False)])
def test_a_person_at_a_terminal_types_yes_in_full(remote, here, monkeypatch, typed, agreed):
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    if agreed:
        assert resolve(MEDSAM_ID, MEDSAM, hub=here).licence == "Apache-2.0"
    else:
        with pytest.raises(SourceError, match="wanted agreement"):
            resolve(MEDSAM_ID, MEDSAM, hub=here)
    assert bool(remote.sent) is agreed


def test_llava_meds_licence_says_that_deployment_is_out_of_scope():
    licence = licence_of(LLAVA, None)
    assert "research only" in licence.name
    assert "Any deployed use, commercial or otherwise, is out of its scope" in licence.terms


def test_of_an_unknown_model_the_licence_is_what_the_hub_says(remote, here, capsys):
    source = resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    assert source.licence == "none named"
    assert "The hub names no licence" in capsys.readouterr().err
    remote.models[PLAIN].licence = "cc-by-nc-4.0"
    assert resolve(PLAIN, MEDSAM, accept_licence=True, hub=here).licence == "cc-by-nc-4.0"


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(remote, here):
    remote.breaks_at["medsam_vit_b.pth"] = CUT
    with pytest.raises(SourceError, match="the hub answered 503: run the same command again"):
        resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    assert not list(here.cache.rglob("medsam_vit_b.pth"))
    remote.mend()
    source = resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    assert remote.sent == [("medsam_vit_b.pth", f"bytes={CUT}-")]
    assert dict(source.sha256) == {"medsam_vit_b.pth": sha256(BIG)}
    assert not list(here.cache.rglob("*.incomplete"))


_PROCESS = """
import sys
from organseg.errors import OrganSegError
from organseg.networks.sources import MEDSAM, resolve
try:
    source = resolve(sys.argv[1], MEDSAM, accept_licence=True)
except OrganSegError as error:
    sys.exit(str(error))
print(source.sha256["medsam_vit_b.pth"])
"""


@pytest.mark.slow
def test_another_process_goes_on_from_where_the_first_one_stopped(remote, tmp_path):
    huge = BIG * 240
    mebibyte = 1 << 20
    assert len(huge) > 22 * mebibyte
    remote.models[PLAIN] = Model({"medsam_vit_b.pth": huge})
    remote.breaks_at["medsam_vit_b.pth"] = 21 * mebibyte
    here = {"HF_ENDPOINT": remote.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}

    def run():
        command = [sys.executable, "-c", _PROCESS, PLAIN]
        return subprocess.run(command, env=os.environ | here, capture_output=True, text=True)

    first = run()
    assert first.returncode == 1
    assert "run the same command again: it goes on where it stopped" in first.stderr
    remote.mend()
    second = run()
    assert second.stdout.strip() == sha256(huge)
    # huggingface_hub writes ten mebibytes at a time.
    assert remote.sent == [("medsam_vit_b.pth", f"bytes={20 * mebibyte}-")]


def test_a_server_that_ignores_the_range_sends_the_whole_file_again(remote, here):
    remote.breaks_at["medsam_vit_b.pth"] = CUT
    with pytest.raises(SourceError):
        resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    remote.mend()
    remote.ignores_ranges = True
    source = resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    assert (source.path / "medsam_vit_b.pth").read_bytes() == BIG


def test_what_is_not_what_the_hub_promised_is_thrown_away(remote, here):
    remote.spoils.add("medsam_vit_b.pth")
    with pytest.raises(SourceError, match=f"with the sha256 {sha256(BIG)}, got .*thrown away"):
        resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    remote.spoils.clear()
    remote.sent.clear()
    resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    assert remote.sent == [("medsam_vit_b.pth", None)]


def test_a_gated_model_says_where_to_ask(here):
    with pytest.raises(SourceError, match=r"accounts that asked.*some/gated.*hf auth login"):
        resolve(GATED, MEDSAM, accept_licence=True, hub=here)


def test_an_unknown_model_is_neither_path_nor_id(here):
    with pytest.raises(SourceError, match="nobody/nothing is neither"):
        resolve("nobody/nothing", MEDSAM, accept_licence=True, hub=here)


def test_an_unknown_revision_is_named(here):
    with pytest.raises(SourceError, match="no such branch, tag or commit"):
        resolve(f"{PLAIN}@v9", MEDSAM, accept_licence=True, hub=here)


def test_a_model_in_another_layout_is_refused_before_anything_is_downloaded(remote, here):
    with pytest.raises(SourceError, match=r"wanted .*\*\.safetensors in microsoft/llava-med"):
        resolve(LLAVA, LLAVA_MED, accept_licence=True, hub=here)
    assert remote.sent == []


def test_without_a_connection_the_cache_serves_and_else_says_how_to_go_on(
    remote, here, monkeypatch
):
    first = resolve(PLAIN, MEDSAM, accept_licence=True, hub=here)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    again = resolve(PLAIN, MEDSAM, hub=here)
    assert (again.path, again.revision, again.sha256) == (
        first.path,
        first.revision,
        first.sha256,
    )
    with pytest.raises(SourceError, match=r"HF_HUB_OFFLINE.*run the same command again"):
        resolve(MEDSAM_ID, MEDSAM, accept_licence=True, hub=here)


def test_a_hub_that_does_not_answer_is_told_apart_from_a_wrong_name(tmp_path, remote):
    nobody = Hub("http://127.0.0.1:9", tmp_path / "cache")
    with pytest.raises(SourceError, match="could not be reached"):
        resolve(PLAIN, MEDSAM, accept_licence=True, hub=nobody)


@pytest.mark.parametrize(
    "text", ["/nowhere/at/all", "./medsam.pth", "a/b/c", "medsam.pth", "a/b@../c"]
)
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(text):
    with pytest.raises(SourceError, match="no such path"):
        resolve(text, MEDSAM, hub=Hub("http://127.0.0.1:9"))


def test_a_path_comes_before_a_hub_id_of_the_same_name(remote, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / PLAIN
    folder.mkdir(parents=True)
    (folder / "medsam_vit_b.pth").write_bytes(b"mine")
    assert dict(resolve(PLAIN, MEDSAM, hub=here).sha256) == {"medsam_vit_b.pth": sha256(b"mine")}
    assert remote.sent == []


def test_a_folder_without_the_part_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"wanted extractors\.safetensors for heads"):
        resolve(str(tmp_path), HEADS)


def test_a_missing_shard_is_named_before_gigabytes_are_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr("organseg.networks.sources.sha256_of", lambda path: 1 / 0)
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="00002-of-00002"):
        resolve(str(tmp_path), LLAVA_MED)


@pytest.mark.parametrize(
    ("part", "names", "chosen"),
    [
        (MEDSAM, ["pytorch_model.bin", "medsam_vit_b.pth"], ["medsam_vit_b.pth"]),
        (MEDSAM, ["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (
            VISION_TOWER,
            ["pytorch_model.bin", "config.json", "model.safetensors"],
            ["config.json", "model.safetensors"],
        ),
        (
            LLAVA_MED,
            ["model-00001-of-00001.safetensors", "consolidated.safetensors", "tokenizer.model"],
            ["model-00001-of-00001.safetensors", "tokenizer.model"],
        ),
        (LLAVA_MED, ["config.json", "pytorch_model.bin"], []),
    ],
)
def test_of_several_forms_of_the_same_weights_one_is_read(part: Part, names, chosen):
    assert part.chosen(names) == chosen
