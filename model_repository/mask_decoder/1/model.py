"""`mask_decoder`: MedSAM's prompt encoder and mask decoder, on the CPU."""

from organseg.serving.stages.graph import MaskDecoderStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(MaskDecoderStage)
