"""`postprocess`: masks at the original size, blank where nothing is."""

from organseg.serving.stages.postprocess import PostprocessStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(PostprocessStage)
