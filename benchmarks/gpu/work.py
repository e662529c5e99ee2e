"""Operations and bytes of every stage, counted from the modules themselves on the device "meta".

There tensors have shapes and no numbers, so a model of any size is counted in seconds, and
attention is taken apart into its products, which are counted whole: a kernel that leaves out the
half that a causal mask hides can do with some percent less than the language model's count.
Softmax, norms and additions are not counted: they are no work for tensor cores.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers import StaticCache

from benchmarks.gpu.floors import Work
from benchmarks.gpu.follow_up import FollowUp
from benchmarks.gpu.models import random_vision_language
from export.precision import Precision
from organseg.contract import DataType, Model, Preset, graph_stages, model_of, names
from organseg.contract import Tensor as ContractTensor
from organseg.networks.build import build_organ_seg
from organseg.networks.stages import graph_modules
from organseg.networks.vision_language import VisionLanguage

LANGUAGE_STAGE = "llava_med"
"""The stage that is the language model's prefill of image and question."""
FOLLOW_UP = "follow_up"
"""The language model's prefill of another question about an image that was read before."""
PROMPTS = 1
"""Asked organs in every request that is timed: what nearly all questions ask for."""

_META = "meta"
_HALF_BYTES, _SINGLE_BYTES = 2, 4


@dataclass(frozen=True)
class Count:
    """What one call does."""

    operations: int
    """Of its products and convolutions."""
    weights: int
    """Numbers in the weights that it reads."""


def count(work: Callable[[], object]) -> Count:
    """Operations of a call on the device "meta", and the weights that it reads.

    Of an embedding table a call reads few rows: what is looked up in it is not counted.
    """
    read = _WeightsRead()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, read:
        work()
    return Count(int(counter.get_total_flops()), sum(read.sizes.values()))


class _WeightsRead(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the size of every parameter that an operator is given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if operator.overloadpacket is not torch.ops.aten.embedding:
            for value in tree_leaves((args, kwargs)):
                if isinstance(value, nn.Parameter):
                    self.sizes[id(value)] = value.numel()
        return operator(*args, **(kwargs or {}))


def edge_bytes(model: Model, batch: int) -> int:
    """Bytes of a stage's inputs and outputs; texts are left out."""
    return sum(
        batch * math.prod(tensor.shape("min")) * tensor.dtype.numpy.itemsize
        for tensor in (*model.inputs, *model.outputs)
        if tensor.dtype is not DataType.BYTES
    )


class WorkCounter:
    """Counts the stages of one preset; its model is made once, without numbers."""

    def __init__(self, preset: Preset, language_dtype: torch.dtype) -> None:
        """Makes the model on the device "meta"."""
        self._preset = preset
        self._language: VisionLanguage = random_vision_language(
            preset.vision_language, _META, language_dtype
        )
        self._dtype = language_dtype
        with torch.device(_META):
            organ_seg = build_organ_seg(preset, vision_language=self._language)
        self._graphs = graph_modules(organ_seg)

    @property
    def prefix_tokens(self) -> int:
        """Tokens that do not depend on the question."""
        return len(self._language.prompts.prefix)

    def graph_stage(self, name: str, batch: int, precision: Precision) -> Work:
        """One of the exported graphs, with `PROMPTS` boxes an image."""
        module, model = self._graphs[name], model_of(self._preset, name)
        inputs = meta_inputs(model, batch)
        size = _SINGLE_BYTES if precision is Precision.FP32 else _HALF_BYTES
        counted = count(lambda: module(*inputs))
        return Work(
            operations=counted.operations,
            weight_bytes=size * counted.weights,
            activation_bytes=edge_bytes(model, batch),
        )

    def prefill(self, batch: int, tokens: int) -> Work:
        """The language model over images and prompts of so many tokens, the image's included."""
        language, size = self._language, self._preset.vision_language
        pixels = self._pixels(batch)
        embedded = torch.empty(batch, tokens, size.width, dtype=self._dtype, device=_META)
        model = language.language_model

        def call() -> None:
            language.image_features(pixels)
            # With a cache, since without one transformers looks at numbers to choose its mask.
            cache = StaticCache(config=model.config, max_cache_len=tokens)
            model(inputs_embeds=embedded, past_key_values=cache, use_cache=True)

        counted = count(call)
        return Work(
            operations=counted.operations,
            weight_bytes=self._dtype.itemsize * counted.weights,
            activation_bytes=edge_bytes(model_of(self._preset, LANGUAGE_STAGE), batch),
        )

    def follow_up(self, batch: int, room: int) -> Work:
        """A question padded to `room` tokens, behind a prefix whose keys and values are kept."""
        size = self._preset.vision_language
        follow_up = FollowUp(self._language, room=room)
        pixels = self._pixels(batch)
        follow_up.read_image(pixels)
        token_ids = torch.zeros(batch, room, dtype=torch.long, device=_META)
        lengths = torch.ones(batch, dtype=torch.long, device=_META)
        head = size.width // size.heads
        kept = 2 * size.depth * size.key_value_heads * head * (follow_up.prefix_tokens + room)
        counted = count(lambda: follow_up.ask(token_ids, lengths))
        return Work(
            operations=counted.operations,
            weight_bytes=self._dtype.itemsize * counted.weights,
            # The keys and values that are looked at, and the answer state.
            activation_bytes=self._dtype.itemsize * batch * (kept + size.width),
        )

    def _pixels(self, batch: int) -> Tensor:
        """The language model's pictures, without numbers."""
        tensor = model_of(self._preset, LANGUAGE_STAGE).tensor(names.VLM_PIXELS)
        return _without_numbers(tensor, batch)

    def request(self, tokens: int, precision: Precision) -> dict[str, Work]:
        """The stages of one whole request, each with its own work."""
        stages = {
            model.name: self.graph_stage(model.name, 1, precision.of_stage(model.name))
            for model in graph_stages(self._preset)
        }
        return {**stages, LANGUAGE_STAGE: self.prefill(1, tokens)}


def meta_inputs(model: Model, batch: int) -> tuple[Tensor, ...]:
    """A stage's inputs without numbers, in its order and types; texts are left out."""
    return tuple(
        _without_numbers(tensor, batch)
        for tensor in model.inputs
        if tensor.dtype is not DataType.BYTES
    )


def _without_numbers(tensor: ContractTensor, batch: int) -> Tensor:
    kind = getattr(torch, str(tensor.dtype.numpy))
    return torch.empty((batch, *tensor.shape("min")), dtype=kind, device=_META)
