"""`llava_med`: LLaVA-Med with merged LoRA, one prefill for each batch."""

from organseg.serving.stages.llava_med import LlavaMedStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(LlavaMedStage)
