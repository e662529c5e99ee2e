"""Every model of the flow with its inputs and outputs: THE interface, declared once.

A tensor has one name from the model that writes it to those that read it, so the ensemble's
wiring follows from the names alone. Upper-case names are what a client sends and receives.
See `docs/contract.md` for the same as tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from organseg.contract import names
from organseg.contract.presets import Preset
from organseg.contract.tensors import Axis, DataType, Tensor, static
from organseg.contract.verdicts import PROMPT_COUNTS
from organseg.organs import ANSWERS, ORGANS

MIN_SIDE, MAX_SIDE = 8, 4096
"""Shortest and longest side of an image that a request may carry, pixels."""


class ModelKind(Enum):
    """What runs a model."""

    PYTHON = "python"
    """Triton's Python backend, on every platform."""
    GRAPH = "graph"
    """An exported graph: Python backend, ONNX Runtime or TensorRT, as the platform says."""


@dataclass(frozen=True)
class Model:
    """One stage of the flow: one module, one Triton model, one export target."""

    name: str
    """The stage's word, the same everywhere."""
    kind: ModelKind
    """What runs it."""
    inputs: tuple[Tensor, ...]
    """What it reads."""
    outputs: tuple[Tensor, ...]
    """What it writes."""
    doc: str
    """What it does, in one sentence."""
    streams: bool = False
    """Whether a request gets many responses, one after another (Triton: decoupled)."""

    def tensor(self, name: str) -> Tensor:
        """The input or output of this name; raises `KeyError` where there is none."""
        for tensor in (*self.inputs, *self.outputs):
            if tensor.name == name:
                return tensor
        raise KeyError(f"model {self.name!r} has no tensor {name!r}")


PROMPTS = "prompts"
"""The axis of asked organs inside the flow, padded to one of `PROMPT_COUNTS`."""

EXPLAIN_NAME = "llava_med_explain"
"""The model that explains an answer in words, where a release has it; no part of an ensemble."""

FEATURES_NAME = "image_features"
"""The stage that keeps what the image encoder made of an image."""

SESSIONS_NAME = "sessions"
"""The stage that knows the open sessions."""


def models_of(preset: Preset) -> tuple[Model, ...]:
    """The stages of every ensemble with this preset's dimensions, in the order data walks them.

    `ensembles_of` says which of them an ensemble has; a release that keeps nothing leaves out
    `image_features` and `sessions`.
    """
    sam, vlm = preset.segmenter, preset.vision_language
    one = static("one", 1)
    xyxy = static("x1 y1 x2 y2", 4)
    prompts = Axis(PROMPTS, PROMPT_COUNTS[0], PROMPT_COUNTS[0], PROMPT_COUNTS[-1])
    answers = Axis("answers", 1, 1, len(ORGANS))
    rows, columns = (Axis(name, MIN_SIDE, 512, MAX_SIDE) for name in ("rows", "columns"))

    def square(size: int) -> tuple[Axis, Axis]:
        return static("rows", size), static("columns", size)

    sam_pixels = Tensor(
        names.SAM_PIXELS,
        DataType.UINT8,
        square(sam.image_size),
        "grey levels in display orientation, stretched to 0..255, aspect ratio not kept",
    )
    vlm_pixels = Tensor(
        names.VLM_PIXELS,
        DataType.UINT8,
        square(vlm.image_size),
        "the same picture at the vision tower's size",
    )
    question = Tensor(names.QUESTION, DataType.BYTES, (one,), "UTF-8, NFC, outer blanks removed")
    image_size_hw = Tensor(
        names.IMAGE_SIZE_HW, DataType.INT32, (static("height width", 2),), "in display orientation"
    )
    image_orientation = Tensor(
        names.IMAGE_ORIENTATION,
        DataType.UINT8,
        (static("transpose flip_rows flip_columns", 3),),
        "how the stored frame was brought to display orientation; 0 or 1 each",
    )
    image_is_blank = Tensor(
        names.IMAGE_IS_BLANK, DataType.BOOL, (one,), "true where all pixels are equal"
    )
    image_key = Tensor(
        names.IMAGE_KEY,
        DataType.UINT8,
        (static("bytes", 32),),
        "SHA-256 over the prepared pixels and everything that they were prepared by",
    )
    query = Tensor(names.QUERY, DataType.BYTES, (one,), "the question, UTF-8", optional=True)
    answer_state = Tensor(
        names.ANSWER_STATE,
        DataType.FP16,
        (static("width", vlm.width),),
        "F_vl: last layer's state of the last prompt token",
    )
    patch_states = Tensor(
        names.PATCH_STATES,
        DataType.FP16,
        (static("patches", vlm.patches), static("width", vlm.width)),
        "F_vl: last layer's states of the image tokens, row by row",
    )
    similarity = Tensor(
        names.SIMILARITY,
        DataType.FP32,
        (static("answers", len(ANSWERS)),),
        "cosine of F_t with organs 1 to 13, then with the nearest irrelevant prototype (C')",
    )
    presence = Tensor(
        names.PRESENCE,
        DataType.FP32,
        (static("organs", len(ORGANS)),),
        "probability that the image shows organs 1 to 13",
    )
    boxes = Tensor(
        names.BOXES,
        DataType.FP32,
        (static("organs", len(ORGANS)), xyxy),
        "F_seg: a box prompt per organ, fractions of the display image's width and height",
    )
    prompt_boxes = Tensor(
        names.PROMPT_BOXES, DataType.FP32, (prompts, xyxy), "boxes of the asked organs, same frame"
    )
    organs = Tensor(names.ORGANS, DataType.INT32, (prompts,), "organ ids 1 to 14, 0 in the padding")
    verdicts = Tensor(
        names.VERDICTS, DataType.INT32, (prompts,), "I_out: verdict codes, 0 in the padding"
    )
    organ_presence = Tensor(
        names.ORGAN_PRESENCE, DataType.FP32, presence.axes, "presence, zero for a blank image"
    )
    image_embeddings = Tensor(
        names.IMAGE_EMBEDDINGS,
        DataType.FP16,
        (static("channels", sam.channels), *square(sam.grid)),
        "SAM's image embedding",
    )
    features_kept = Tensor(
        names.FEATURES_KEPT, DataType.BOOL, (one,), "whether the embedding is kept by its key"
    )
    prefix_kept = Tensor(
        names.PREFIX_KEPT,
        DataType.BOOL,
        (one,),
        "whether the states of image and fixed text are kept by the image's key",
    )
    features_failure, states_failure = (
        Tensor(
            name,
            DataType.BYTES,
            (one,),
            "empty, or what this branch of the flow has failed with: the other outputs are zeros",
        )
        for name in (names.FEATURES_FAILURE, names.STATES_FAILURE)
    )
    handle = Tensor(
        names.HANDLE, DataType.BYTES, (one,), "a session's name, which nobody can guess"
    )
    low_res_masks = Tensor(
        names.LOW_RES_MASKS, DataType.FP16, (prompts, *square(sam.mask_size)), "mask logits"
    )
    mask_quality = Tensor(
        names.MASK_QUALITY, DataType.FP32, (prompts,), "IoU that the decoder predicts of its mask"
    )

    return (
        Model(
            "preprocess",
            ModelKind.PYTHON,
            (
                Tensor(
                    names.IMAGE,
                    DataType.BYTES,
                    (one,),
                    "encoded image: PNG, JPEG, single-frame DICOM, or .npy of HU or intensity",
                ),
                query,
                Tensor(
                    names.WINDOW,
                    DataType.FP32,
                    (static("low high", 2),),
                    "intensity window; a volume client sends it so that slices scale alike",
                    optional=True,
                ),
            ),
            (
                sam_pixels,
                vlm_pixels,
                question,
                image_size_hw,
                image_orientation,
                image_is_blank,
                image_key,
            ),
            "Checks image and question, decodes, windows, orients and resizes.",
        ),
        Model(
            "image_encoder",
            ModelKind.GRAPH,
            (sam_pixels,),
            (image_embeddings,),
            "MedSAM's image encoder.",
        ),
        Model(
            FEATURES_NAME,
            ModelKind.PYTHON,
            (image_key, replace(sam_pixels, optional=True)),
            (image_embeddings, features_kept, features_failure),
            "Keeps image embeddings by their key; asks `image_encoder` for those it has not.",
        ),
        Model(
            "llava_med",
            ModelKind.PYTHON,
            (image_key, question, replace(vlm_pixels, optional=True)),
            (answer_state, patch_states, prefix_kept, states_failure),
            "LLaVA-Med with merged LoRA, no text generated; knows an image again by its key.",
        ),
        Model(
            "extractors",
            ModelKind.GRAPH,
            (answer_state, patch_states),
            (similarity, presence, boxes),
            "Information of Interest and Segment Information Extractors with the context cache.",
        ),
        Model(
            "gate",
            ModelKind.PYTHON,
            (similarity, presence, boxes, image_is_blank),
            (prompt_boxes, organs, verdicts, organ_presence),
            "Decides which organs were asked for and which are there; pads to few counts.",
        ),
        Model(
            "mask_decoder",
            ModelKind.GRAPH,
            (image_embeddings, prompt_boxes),
            (low_res_masks, mask_quality),
            "MedSAM's prompt encoder and mask decoder in one graph, B images × K boxes.",
        ),
        Model(
            "postprocess",
            ModelKind.PYTHON,
            (
                low_res_masks,
                mask_quality,
                prompt_boxes,
                organs,
                verdicts,
                image_size_hw,
                image_orientation,
                replace(features_failure, optional=True),
                replace(states_failure, optional=True),
            ),
            (
                Tensor(
                    names.ANSWER_MASKS,
                    DataType.BOOL,
                    (answers, rows, columns),
                    "masks at the image's own size and orientation, blank unless segmented",
                ),
                Tensor(
                    names.ANSWER_ORGANS,
                    DataType.INT32,
                    (answers,),
                    "organ ids 1 to 13; 14 is none of them",
                ),
                Tensor(
                    names.ANSWER_VERDICTS,
                    DataType.BYTES,
                    (answers,),
                    "segmented, absent_in_image or out_of_scope",
                ),
                Tensor(
                    names.ANSWER_BOXES,
                    DataType.FP32,
                    (answers, xyxy),
                    "the box prompts in the image's own pixels, zeros unless segmented",
                ),
                Tensor(
                    names.ANSWER_QUALITY,
                    DataType.FP32,
                    (answers,),
                    "IoU that the decoder predicts of its mask, zero unless segmented",
                ),
            ),
            "Masks at the original size; drops the padding; blanks what is not there.",
        ),
        Model(
            SESSIONS_NAME,
            ModelKind.PYTHON,
            tuple(
                replace(tensor, optional=True)
                for tensor in (
                    image_key,
                    image_size_hw,
                    image_orientation,
                    image_is_blank,
                    features_kept,
                    prefix_kept,
                    features_failure,
                    states_failure,
                    handle,
                    query,
                )
            ),
            (
                handle,
                Tensor(
                    names.LIFETIME_S,
                    DataType.FP32,
                    (one,),
                    "how long the session is known after its last question, seconds",
                ),
                image_key,
                question,
                image_size_hw,
                image_orientation,
                image_is_blank,
            ),
            "Gives an image a handle, and gives back by the handle what a question needs.",
        ),
    )


def graph_stages(preset: Preset) -> list[Model]:
    """The stages that are exported graphs, in the flow's order."""
    return [model for model in models_of(preset) if model.kind is ModelKind.GRAPH]
