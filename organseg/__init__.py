"""Organ-Seg: ask an abdominal image a question, get the organ, its mask and a verdict.

The public rooms are `organseg.contract` (the tensors of every model), `organseg.organs`
(the 13 organs), `organseg.imaging` (pictures and frames), `organseg.networks` (the torch
parts), `organseg.serving` (Triton) and `organseg.errors` (the error tree).
"""

__version__ = "0.1.0"
