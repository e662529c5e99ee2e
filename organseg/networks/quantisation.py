"""Keeps the language model's linear layers in 8 or 4 bits, by bitsandbytes.

Only the linear layers of the decoder's blocks are changed; embeddings, norms, the vision tower,
the projector and the language-model head stay as they are. One layer is quantised at a time, on the
device that will compute it, so a device holds at most one unquantised layer beside what it keeps.

int8 rounds every row of a weight to multiples of a 127th of its largest; int4 is NF4 (Dettmers et
al. 2023), 16 levels in blocks of 64. In both, products are float16's: only weights are rounded.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.contract import LanguageModelWeights
from organseg.errors import EngineError


def working_type(weights: LanguageModelWeights) -> torch.dtype:
    """The type of all that is not quantised, and of what travels between layers.

    float16 beside quantised weights: the small GPUs that want them have it (bfloat16 begins with
    Ampere), bitsandbytes rounds to 8 bits from no other, and LLaVA-Med's own code runs in it.
    """
    types = {
        LanguageModelWeights.FP32: torch.float32,
        LanguageModelWeights.BF16: torch.bfloat16,
        LanguageModelWeights.FP16: torch.float16,
        LanguageModelWeights.INT8: torch.float16,
        LanguageModelWeights.INT4: torch.float16,
    }
    return types[weights]


def quantise_linears(
    module: nn.Module, weights: LanguageModelWeights, device: torch.device | str
) -> None:
    """Replaces every linear layer below a module, in place, by a quantised one on a device.

    Weights that are not integers leave the module as it is.

    Args:
        module: one block of the decoder, its weights in `working_type(weights)` on the CPU.
        weights: what to keep them in.
        device: where the block will be computed.

    Raises:
        EngineError: bitsandbytes is not installed.
    """
    if not weights.is_quantised:
        return
    library = _library()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            # The library's own layers derive from it, and are left alone.
            if type(child) is nn.Linear:
                layer = (
                    Int8Linear(library, child, device)
                    if weights is LanguageModelWeights.INT8
                    else _int4(library, child)
                )
                setattr(parent, name, layer.to(device).eval())


class Int8Linear(nn.Module):
    """A linear layer whose weights are 8 bits; its products are those of the inputs' own type.

    The weights are widened for every product, into a copy that is gone after it. bitsandbytes' own
    layer rounds the activations to 8 bits as well, and finds the channels that it must not round
    over a whole batch, so that an answer would depend on the company a question is asked in.
    """

    values: Tensor
    scales: Tensor

    def __init__(self, library: ModuleType, linear: nn.Linear, device: torch.device | str) -> None:
        """Rounds the weights of a layer, each row by its largest, on a device.

        Args:
            library: bitsandbytes.
            linear: the layer, float16.
            device: where the rounding is done and the layer will be.
        """
        super().__init__()
        weight = linear.weight.detach().to(device)
        values, largest, _ = library.functional.int8_vectorwise_quant(weight)
        self.register_buffer("values", values)
        self.register_buffer("scales", (largest / 127.0).to(weight.dtype).unsqueeze(1))
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        """Float [..., I] to float [..., O]."""
        weight = self.values.to(states.dtype).mul_(self.scales)
        return functional.linear(states, weight, self.bias)


def _int4(library: ModuleType, linear: nn.Linear) -> nn.Module:
    layer: Any = library.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=linear.weight.dtype,
        quant_type="nf4",
        device="meta",
    )
    layer.weight = library.nn.Params4bit(
        linear.weight.detach(), requires_grad=False, quant_type="nf4", module=layer
    )
    layer.bias = linear.bias
    # On CPUs with AVX512-BF16 the layer would pack its weights for a kernel that computes in
    # bfloat16, not in what a GPU does, and that refuses widths which are no multiple of 32.
    layer.support_avx512bf16_for_cpu = False
    return layer  # type: ignore[no-any-return]


def _library() -> ModuleType:
    try:
        import bitsandbytes
    except ImportError as error:
        raise EngineError(
            "wanted bitsandbytes for a language model in int8 or int4, found none: install "
            "organseg[quantised], or export the release with another --language-model"
        ) from error
    module: ModuleType = bitsandbytes
    return module
