"""`preprocess`: checks image and question, decodes, windows, orients, resizes."""

from organseg.serving.stages.preprocess import PreprocessStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(PreprocessStage)
