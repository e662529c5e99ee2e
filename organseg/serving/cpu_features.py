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
"""Each of them makes bfloat16 faster than float32."""


@lru_cache(maxsize=1)
def cpu_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The CPU's flags; none where the system does not list them."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()
