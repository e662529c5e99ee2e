"""What the chips can do at most: dense rates and memory bandwidths, by the driver's name.

Sources: NVIDIA's data sheets of T4, L4, A10, A100 (40 and 80 GB), L40S, H100 and H200. Those that
print tensor-core rates "with sparsity" are halved here: our weights are dense. T4 has no bfloat16
tensor cores, so it has no rate for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from export.precision import Precision


@dataclass(frozen=True)
class Chip:
    """One kind of GPU."""

    name: str
    """What people call it."""
    driver_names: tuple[str, ...]
    """What the driver calls it, in full: a slice of a GPU (MIG) has another name and rates."""
    bf16_tflops: float | None
    """Dense bfloat16 products on tensor cores, 10¹² operations a second; None where it has none."""
    fp16_tflops: float
    """The same in float16."""
    fp32_tflops: float
    """float32 without TensorFloat-32."""
    bandwidth_gb_per_s: float
    """Of its memory, 10⁹ bytes a second."""
    memory_gb: float
    """Of its memory, 10⁹ bytes."""

    def operations_per_s(self, precision: Precision) -> float | None:
        """The most operations a second; None where the chip does not have the precision."""
        tflops = {
            Precision.BF16: self.bf16_tflops,
            Precision.FP16: self.fp16_tflops,
            Precision.FP32: self.fp32_tflops,
        }[precision]
        return None if tflops is None else tflops * 1e12

    @property
    def bytes_per_s(self) -> float:
        """The most bytes a second that its memory gives or takes."""
        return self.bandwidth_gb_per_s * 1e9


CHIPS: tuple[Chip, ...] = (
    Chip("T4", ("Tesla T4", "NVIDIA T4"), None, 65.0, 8.1, 320.0, 16.0),
    Chip("L4", ("NVIDIA L4",), 121.0, 121.0, 30.3, 300.0, 24.0),
    Chip("A10", ("NVIDIA A10",), 125.0, 125.0, 31.2, 600.0, 24.0),
    Chip(
        "A100 40 GB",
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"),
        *(312.0, 312.0, 19.5, 1555.0, 40.0),
    ),
    Chip("A100 80 GB PCIe", ("NVIDIA A100 80GB PCIe",), 312.0, 312.0, 19.5, 1935.0, 80.0),
    Chip("A100 80 GB SXM", ("NVIDIA A100-SXM4-80GB",), 312.0, 312.0, 19.5, 2039.0, 80.0),
    Chip("L40S", ("NVIDIA L40S",), 362.05, 362.05, 91.6, 864.0, 48.0),
    Chip("H100 PCIe", ("NVIDIA H100 PCIe",), 756.5, 756.5, 51.0, 2000.0, 80.0),
    Chip("H100 SXM", ("NVIDIA H100 80GB HBM3",), 989.5, 989.5, 67.0, 3350.0, 80.0),
    Chip("H200", ("NVIDIA H200",), 989.5, 989.5, 67.0, 4800.0, 141.0),
)
"""The chips whose floors are known."""


def chip_of(driver_name: str) -> Chip | None:
    """The chip that a driver calls so; None where it is not in the table."""
    for chip in CHIPS:
        if driver_name in chip.driver_names:
            return chip
    return None
