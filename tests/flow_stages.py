"""The stages in the order of the flow, for the tests that walk them in process."""

from __future__ import annotations

from organseg.serving.stages.gate import GateStage
from organseg.serving.stages.graph import ExtractorsStage, ImageEncoderStage, MaskDecoderStage
from organseg.serving.stages.llava_med import LlavaMedStage
from organseg.serving.stages.postprocess import PostprocessStage
from organseg.serving.stages.preprocess import PreprocessStage

STAGES = (
    PreprocessStage,
    ImageEncoderStage,
    LlavaMedStage,
    ExtractorsStage,
    GateStage,
    MaskDecoderStage,
    PostprocessStage,
)
