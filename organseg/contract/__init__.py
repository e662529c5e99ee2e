"""THE interface: every model's tensors, declared once per preset.

Everything that speaks of a tensor (Triton configs, ONNX axes, TensorRT profiles, the page
`docs/contract.md`, server glue and clients) is rendered from or checked against this package.
"""

from organseg.contract.cpu_engines import CpuEngine
from organseg.contract.deployment import (
    Loading,
    Platform,
    StageDeployment,
    deployment_of,
    loading_in,
)
from organseg.contract.ensembles import (
    ASK_NAME,
    ENCODE_NAME,
    ENSEMBLE_NAME,
    Ensemble,
    ensemble_tensors,
    ensembles_of,
)
from organseg.contract.explanation import (
    DEFAULT_TOKENS,
    MOST_TOKENS,
    Explanations,
    Finish,
    explanation_model,
    model_of,
    served_models,
)
from organseg.contract.facts import INTENDED_USE, LICENCE, SAMPLE_QUESTION, Fact
from organseg.contract.keeping import (
    ImageFeatures,
    SessionLimits,
    kept_bytes_in,
    session_limits_in,
)
from organseg.contract.language_model import (
    LanguageModel,
    LanguageModelWeights,
    Placement,
    default_weights,
    language_model_in,
)
from organseg.contract.models import (
    EXPLAIN_NAME,
    FEATURES_NAME,
    SESSIONS_NAME,
    Model,
    ModelKind,
    graph_stages,
    models_of,
)
from organseg.contract.presets import LLAVA_MED_7B, MEDSAM, PRESETS, TINY, Preset, preset_by_name
from organseg.contract.tensors import Axis, DataType, Tensor
from organseg.contract.verdicts import PADDING, PROMPT_COUNTS, Verdict, padded_count, summarise
from organseg.contract.version import CONTRACT_PARAMETER, CONTRACT_VERSION

__all__ = [
    "ASK_NAME",
    "CONTRACT_PARAMETER",
    "CONTRACT_VERSION",
    "DEFAULT_TOKENS",
    "ENCODE_NAME",
    "ENSEMBLE_NAME",
    "EXPLAIN_NAME",
    "FEATURES_NAME",
    "INTENDED_USE",
    "LICENCE",
    "LLAVA_MED_7B",
    "MEDSAM",
    "MOST_TOKENS",
    "PADDING",
    "PRESETS",
    "PROMPT_COUNTS",
    "SAMPLE_QUESTION",
    "SESSIONS_NAME",
    "TINY",
    "Axis",
    "CpuEngine",
    "DataType",
    "Ensemble",
    "Explanations",
    "Fact",
    "Finish",
    "ImageFeatures",
    "LanguageModel",
    "LanguageModelWeights",
    "Loading",
    "Model",
    "ModelKind",
    "Placement",
    "Platform",
    "Preset",
    "SessionLimits",
    "StageDeployment",
    "Tensor",
    "Verdict",
    "default_weights",
    "deployment_of",
    "ensemble_tensors",
    "ensembles_of",
    "explanation_model",
    "graph_stages",
    "kept_bytes_in",
    "language_model_in",
    "loading_in",
    "model_of",
    "models_of",
    "padded_count",
    "preset_by_name",
    "served_models",
    "session_limits_in",
    "summarise",
]
