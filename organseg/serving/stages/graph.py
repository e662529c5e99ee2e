"""The stages `image_encoder`, `extractors` and `mask_decoder`: exported graphs on the CPU.

On the platforms `onnxruntime` and `tensorrt` Triton runs the same graphs by itself.
"""

from __future__ import annotations

from organseg.contract import Platform
from organseg.serving.graph_session import GraphSession
from organseg.serving.stage import Arrays, BatchStage, StageContext


class GraphStage(BatchStage):
    """A stage that is one graph."""

    def __init__(self, context: StageContext) -> None:
        """Loads the graph of the version folder."""
        super().__init__(context)
        graph = context.folder / Platform.PYTHON.graph_file
        self._session = GraphSession(graph, threads=context.threads)

    def infer(self, inputs: Arrays) -> Arrays:
        """Runs the graph on a batch."""
        return self._session.infer(inputs)


class ImageEncoderStage(GraphStage):
    """MedSAM's image encoder."""

    name = "image_encoder"


class ExtractorsStage(GraphStage):
    """The extractor heads with the context cache."""

    name = "extractors"


class MaskDecoderStage(GraphStage):
    """MedSAM's prompt encoder and mask decoder."""

    name = "mask_decoder"
