"""One request through all stages in process; run as a script, in an environment with another numpy.

python stage_walk.py RELEASE PICTURE QUESTION OUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from flow_stages import STAGES
from organseg.contract import TINY
from organseg.serving.stage import StageContext, StageRequest


def walk(release: Path, picture: bytes, question: str) -> dict[str, Any]:
    """Every tensor of one request, by name."""
    known: dict[str, Any] = {
        "IMAGE": np.array([[picture]], dtype=np.object_),
        "QUERY": np.array([[question.encode()]], dtype=np.object_),
    }
    for stage_class in STAGES:
        stage = stage_class(
            StageContext(TINY, release / "models" / stage_class.name / "1", threads=1)
        )
        names = [tensor.name for tensor in stage.model.inputs if tensor.name in known]
        (answer,) = stage.run([StageRequest({name: known[name] for name in names})])
        if isinstance(answer, Exception):
            raise answer
        known.update(answer)
    return known


def main(release: str, picture: str, question: str, out: str) -> None:
    """Writes every number and text of one request to a file, with numpy's version."""
    tensors = walk(Path(release), Path(picture).read_bytes(), question)
    plain = {
        name: value.astype("S") if value.dtype == object else value
        for name, value in tensors.items()
        if name != "IMAGE"
    }
    np.savez(out, numpy=np.__version__, **plain)


if __name__ == "__main__":
    main(*sys.argv[1:])
