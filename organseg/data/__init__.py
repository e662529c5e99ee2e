"""Datasets: FLARE22 and its lookalikes, synthetic anatomy, questions, and splits by patient."""
