"""The proof that frozen weights stayed as they were: a hash of each before and after."""

from __future__ import annotations

from torch import Tensor, nn

from organseg.errors import CheckpointError
from organseg.networks.fingerprint import tensor_sha256


def freeze(*modules: nn.Module) -> None:
    """Takes the gradients of all weights away."""
    for module in modules:
        for weight in module.parameters():
            weight.requires_grad_(False)


def thaw(*modules: nn.Module) -> None:
    """Gives all weights their gradients."""
    for module in modules:
        for weight in module.parameters():
            weight.requires_grad_(True)


def frozen_hashes(module: nn.Module) -> dict[str, str]:
    """A hash of the bytes of every weight without gradients, and of every buffer, by name."""
    tensors: dict[str, Tensor] = dict(module.named_buffers())
    for name, weight in module.named_parameters():
        if not weight.requires_grad:
            tensors[name] = weight
    return {name: tensor_sha256(tensor) for name, tensor in tensors.items()}


def demand_unchanged(before: dict[str, str], module: nn.Module) -> None:
    """Raises `CheckpointError` that names the weights which changed though they were frozen."""
    after = frozen_hashes(module)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if changed:
        raise CheckpointError(
            f"wanted {len(before)} frozen weights unchanged by training, got {len(changed)} "
            f"changed or thawed, the first {changed[:3]}: a fault of the stage; do not use its "
            "weights"
        )
