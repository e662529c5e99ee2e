"""Benchmarks: what a request costs, measured on a running server; run from the checkout.

`python -m benchmarks --help` lists the commands. Every number that the project claims has its
command here, and the command writes a record that says on what it was measured.

A command with several modules has a package and is its `command`: `load`, `peers`, `tuning`,
`scaling`, `report`, `gpu`. One with few is `NAME_command`, beside `NAME` and what begins so. The
others are shared: `options` and `workload` (what is asked), `served` (who is asked), `statistics`
and `served_cost` (what it cost the server), `record`.
"""
