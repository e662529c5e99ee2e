"""MedSAM at full size, with random weights, on the embedded server: exported, loaded, asked."""

from __future__ import annotations

import pytest

from constructed import PICTURES
from export.progress import Progress
from export.release import write_release
from organseg.contract import MEDSAM, Platform
from organseg.imaging.decoding import decode_image
from organseg.networks.build import build_checkpoint
from organseg.serving.cpu_features import cpu_features
from organseg.serving.embedded import EmbeddedServer, EnsembleProbe, ServerOptions
from organseg.serving.manifest import MODELS_FOLDER, verify_release
from organseg_client import OrganSegClient


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_full_size_preset_is_exported_loaded_and_answers(tmp_path, monkeypatch):
    # One comparison with torch rather than two: an image takes torch some ten seconds.
    monkeypatch.setattr("export.release.BATCHES", (2,))
    out, log = tmp_path / "medsam", tmp_path / "server.log"
    checkpoint = build_checkpoint(MEDSAM, seed=0)
    records = write_release(
        checkpoint, MEDSAM, Platform.PYTHON, out, replace=False, progress=Progress(quiet=True)
    )
    assert {record.graph for record in records} == {"image_encoder", "extractors", "mask_decoder"}
    verify_release(out)
    del checkpoint

    options = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, ready_timeout_s=600, log_file=log
    )
    models = out / MODELS_FOLDER
    with (
        EmbeddedServer(models, options, probe=EnsembleProbe(300)) as server,
        OrganSegClient(server.grpc_address, deadline_s=300) as client,
    ):
        result = client.segment(PICTURES[0], "Which organ stores bile?")
    height, width = decode_image(PICTURES[0]).pixels.shape[:2]
    assert result.masks.shape == (len(result.organs), height, width)
    assert len(result.organs) >= 1
    assert "runs by" not in log.read_text() or "amx_bf16" not in cpu_features()
