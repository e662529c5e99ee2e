"""`extractors`: the extractor heads with the context cache, on the CPU."""

from organseg.serving.stages.graph import ExtractorsStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(ExtractorsStage)
