"""Scores the predictions of any system, with the evidence that our own sweeps get; without JAX."""
