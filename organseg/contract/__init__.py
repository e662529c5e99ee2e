"""THE interface: every model's tensors, declared once per preset.

Everything that speaks of a tensor (Triton configs, ONNX axes, TensorRT profiles, the page
`docs/contract.md`, server glue and clients) is rendered from or checked against this package.
"""

from organseg.contract.cpu_engines import CpuEngine
from organseg.contract.deployment import Platform, StageDeployment, deployment_of
from organseg.contract.facts import INTENDED_USE, LICENCE, SAMPLE_QUESTION, Fact
from organseg.contract.language_model import (
    LanguageModel,
    LanguageModelWeights,
    Placement,
    default_weights,
    language_model_in,
)
from organseg.contract.models import (
    ENSEMBLE_NAME,
    EXPLAIN_NAME,
    Model,
    ModelKind,
    ensemble_tensors,
    graph_stages,
    model_of,
    models_of,
)
from organseg.contract.presets import LLAVA_MED_7B, MEDSAM, PRESETS, TINY, Preset, preset_by_name
from organseg.contract.tensors import Axis, DataType, Tensor
from organseg.contract.verdicts import PADDING, PROMPT_COUNTS, Verdict, padded_count, summarise
from organseg.contract.version import CONTRACT_PARAMETER, CONTRACT_VERSION

__all__ = [
    "CONTRACT_PARAMETER",
    "CONTRACT_VERSION",
    "ENSEMBLE_NAME",
    "EXPLAIN_NAME",
    "INTENDED_USE",
    "LICENCE",
    "LLAVA_MED_7B",
    "MEDSAM",
    "PADDING",
    "PRESETS",
    "PROMPT_COUNTS",
    "SAMPLE_QUESTION",
    "TINY",
    "Axis",
    "CpuEngine",
    "DataType",
    "Fact",
    "LanguageModel",
    "LanguageModelWeights",
    "Model",
    "ModelKind",
    "Placement",
    "Platform",
    "Preset",
    "StageDeployment",
    "Tensor",
    "Verdict",
    "default_weights",
    "deployment_of",
    "ensemble_tensors",
    "graph_stages",
    "language_model_in",
    "model_of",
    "models_of",
    "padded_count",
    "preset_by_name",
    "summarise",
]
