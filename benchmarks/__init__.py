"""Benchmarks: what a request costs, measured on a running server; run from the checkout.

`python -m benchmarks --help` lists the commands. Every number that the project claims has its
command here, and the command writes a record that says on what it was measured.
"""
