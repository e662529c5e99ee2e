"""`llava_med_explain`: LLaVA-Med without its adapter writes answers out, in a stream."""

import os

from organseg.serving.stages.llava_med_explain import LlavaMedExplainStage
from organseg.serving.triton_stream import triton_stream

# Words may wait: on a machine of few cores the flow's stages go first.
os.nice(5)

TritonPythonModel = triton_stream(LlavaMedExplainStage)
