"""Deploys a release anew: the same graphs and weights with other instances, threads and batching.

No graph is exported, so a sweep over deployments takes a moment for each. The release that it is
made from stays as it was, and shares its files with the new one where the disk allows links.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from organseg.contract.deployed_config import deployed, require_platform
from organseg.contract.deployment_file import Deployment, parse_stages, stages_document
from organseg.errors import ReleaseError
from organseg.serving.manifest import MODELS_FOLDER, Manifest, read_manifest, write_manifest

_CONFIG = "config.pbtxt"


def read_configs(release: Path) -> dict[str, str]:
    """The configs of a release by model name; raises `ReleaseError` where one cannot be read."""
    try:
        return {
            path.parent.name: path.read_text(encoding="utf-8")
            for path in sorted((release / MODELS_FOLDER).glob(f"*/{_CONFIG}"))
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(
            f"cannot read the configs of the release {release.name!r} ({type(error).__name__}): "
            "copy it again"
        ) from None


def redeploy(release: Path, deployment: Deployment, out: Path) -> Manifest:
    """Writes a release that is another one but for its deployment, and gives its manifest.

    Args:
        release: a whole release; what a deployment file changed in it before stays unless it is
            changed again.
        deployment: what is changed.
        out: the folder to make; there must be none.

    Raises:
        ReleaseError: `release` is none, or `out` is there.
        ContractError: the deployment does not fit the release.
    """
    manifest = read_manifest(release)
    require_platform(deployment, manifest.platform)
    if out.exists():
        raise ReleaseError(
            f"wanted a free place for the release, {out} is there: name another, a release is "
            "never changed"
        )
    configs = read_configs(release)
    texts = deployed(configs, deployment)
    for path in manifest.files:
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        name = target.parent.name
        if target.name == _CONFIG and texts[name] != configs[name]:
            target.write_text(texts[name], encoding="utf-8")
        else:
            _link(release / path, target)
    return write_manifest(out, **_described(manifest, deployment))


def _described(manifest: Manifest, deployment: Deployment) -> dict[str, Any]:
    """The manifest's fields for a release that differs in its deployment alone."""
    before = parse_stages(manifest.deployment)
    after = {
        name: choice.over(before[name]) if name in before else choice
        for name, choice in deployment.stages.items()
    }
    described = asdict(manifest)
    del described["files"]
    return {**described, "deployment": stages_document({**before, **after})}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
