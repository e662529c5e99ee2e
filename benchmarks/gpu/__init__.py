"""The benchmark of a machine with a GPU: every stage, the language model and the whole request.

Everything but the few calls into CUDA (`device`) runs on a CPU too, at toy width: that is how it is
tested. What it measures and how is told in `docs/gpu.md`.
"""
