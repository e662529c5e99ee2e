"""Training: stage 0 makes the stand-in's base weights, stage 1 is the paper's recipe.

`python -m organseg.training all --out build/training` runs every stage in order from nothing;
each stage is a command of its own, resumes where it was killed, and runs the same on a CPU,
one GPU or many.
"""
