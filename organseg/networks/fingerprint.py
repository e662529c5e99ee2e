"""The hash of weights: what says that two modules hold the same numbers."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def tensor_sha256(tensor: Tensor) -> str:
    """The hash of a tensor's bytes, wherever it lies; its type and shape are not part of it."""
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(plain.numpy().data).hexdigest()


def weights_sha256(module: nn.Module) -> str:
    """The hash of all weights and buffers by name, type and shape.

    Buffers that no checkpoint stores are part of it: the context cache is one of them.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(
        {**dict(module.named_buffers()), **dict(module.named_parameters())}.items()
    ):
        digest.update(
            f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor_sha256(tensor)}\n".encode()
        )
    return digest.hexdigest()
