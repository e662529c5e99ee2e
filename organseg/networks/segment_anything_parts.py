"""SAM's own modules, imported without torchvision.

The package `segment_anything` imports torchvision on its first line, for its predictor and
mask generator, which this project does not use; torchvision's only wheel is a CUDA build that
breaks a CPU torch. A bare module of that name with the package's path lets its `modeling`
sub-package load alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from organseg.errors import CheckpointError


def _load(name: str) -> ModuleType:
    package = "segment_anything"
    if package not in sys.modules:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise CheckpointError(
                "wanted the package segment-anything, found none: install organseg[model]"
            )
        bare = ModuleType(package)
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = bare
    return importlib.import_module(f"{package}.{name}")


ImageEncoderViT = _load("modeling.image_encoder").ImageEncoderViT
MaskDecoder = _load("modeling.mask_decoder").MaskDecoder
PromptEncoder = _load("modeling.prompt_encoder").PromptEncoder
TwoWayTransformer = _load("modeling.transformer").TwoWayTransformer
