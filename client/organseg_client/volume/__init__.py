"""Whole scans: a plan of slices to ask about, and the answers put together again.

The rooms' modules: `plan`, `assembler`, `result`, `report`.
"""
