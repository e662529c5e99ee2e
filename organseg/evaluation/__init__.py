"""Evaluation: every number of the paper, and the ones it leaves out, from one pass over cases."""
