"""The sweep that finds the deployment table of a machine: what `python -m benchmarks tune` does.

It walks one knob at a time. Each change is tried against what was best before it, by turns under
the same load, so that what else the machine does meanwhile hits both alike.
"""
