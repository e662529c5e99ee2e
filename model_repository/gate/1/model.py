"""`gate`: which organs were asked for, and which the image shows."""

from organseg.serving.stages.gate import GateStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(GateStage)
