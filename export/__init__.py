"""Makes releases: merge LoRA, export graphs, prove parity, write the model repository.

Run from the checkout: `python -m export --help`.
"""
