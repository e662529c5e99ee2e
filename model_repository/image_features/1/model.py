"""`image_features`: image embeddings by their key, computed where they are not known."""

from organseg.serving.stages.image_features import ImageFeaturesStage
from organseg.serving.triton_later import triton_later

TritonPythonModel = triton_later(ImageFeaturesStage)
