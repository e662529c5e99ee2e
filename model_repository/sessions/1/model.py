"""`sessions`: a handle for an image, and by the handle what a question about it needs."""

from organseg.serving.stages.sessions import SessionsStage
from organseg.serving.triton_model import triton_model

TritonPythonModel = triton_model(SessionsStage)
