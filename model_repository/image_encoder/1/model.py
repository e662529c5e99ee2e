"""`image_encoder`: MedSAM's image encoder, on the CPU by ONNX Runtime."""

from organseg.serving.stages.graph import ImageEncoderStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(ImageEncoderStage)
