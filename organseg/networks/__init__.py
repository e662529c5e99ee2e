"""The parts of the method in the papers' words, in torch; `organ_seg` is the whole flow.

`gate` alone is plain numpy, since the server runs it as a stage of its own.
"""

import logging

# PEFT imports bitsandbytes wherever it is installed, and that warns of kernels nobody asked for.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
