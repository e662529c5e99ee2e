"""The peers: what people would use instead of a Triton server, on the same weights and cores.

Each is written as its own users would write it and tuned by a sweep; docs/peers.md says how.
"""
