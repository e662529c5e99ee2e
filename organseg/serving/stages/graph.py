"""The stages `image_encoder`, `extractors` and `mask_decoder`: exported graphs on the CPU.

On the platforms `onnxruntime` and `tensorrt` Triton runs the same graphs by itself.
"""

from __future__ import annotations

from organseg.contract import Platform
from organseg.serving.engine_choice import load_graph
from organseg.serving.stage import Arrays, BatchStage, StageContext


class GraphStage(BatchStage):
    """A stage that is one graph."""

    def __init__(self, context: StageContext) -> None:
        """Loads the graph of the version folder, in the first engine that is there."""
        super().__init__(context)
        graph = context.folder / Platform.PYTHON.graph_file
        self._graph = load_graph(graph, context.engines, threads=context.threads)

    def infer(self, inputs: Arrays) -> Arrays:
        """Runs the graph on a batch."""
        return self._graph.infer(inputs)


class ImageEncoderStage(GraphStage):
    """MedSAM's image encoder."""

    name = "image_encoder"


class ExtractorsStage(GraphStage):
    """The extractor heads with the context cache."""

    name = "extractors"


class MaskDecoderStage(GraphStage):
    """MedSAM's prompt encoder and mask decoder."""

    name = "mask_decoder"
