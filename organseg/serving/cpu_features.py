"""What this machine's CPU can do, as Linux lists it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
AMX_BFLOAT16 = "amx_bf16"
"""Intel's matrix unit for bfloat16, in Xeons from Sapphire Rapids on."""
AVX512_BFLOAT16 = "avx512_bf16"
"""Vector products of bfloat16, in Xeons from Cooper Lake on and in EPYCs from Zen 4 on."""
BFLOAT16_FEATURES = (AMX_BFLOAT16, AVX512_BFLOAT16)
"""With each of them a CPU multiplies bfloat16."""
_FASTER_VENDOR = "AuthenticAMD"


@lru_cache(maxsize=1)
def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The CPU's flags; none where the system does not list them."""
    return frozenset(_first_processor(cpuinfo).get("flags", "").split())


@lru_cache(maxsize=1)
def gains_in_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether this CPU is faster in bfloat16 than in float32.

    Those with AMX are. Of those with avx512_bf16 alone AMD's are (1.7 times, Zen 4), and Intel's
    are not (0.84 times: docs/decisions/0015-cpu-engines.md).
    """
    processor = _first_processor(cpuinfo)
    flags = processor.get("flags", "").split()
    return AMX_BFLOAT16 in flags or (
        AVX512_BFLOAT16 in flags and processor.get("vendor_id") == _FASTER_VENDOR
    )


def _first_processor(cpuinfo: Path) -> dict[str, str]:
    """What Linux lists of the first processor, by field; nothing where it lists none."""
    try:
        first, _, _ = cpuinfo.read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return {}
    fields = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in fields}
