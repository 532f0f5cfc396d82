"""From a released corpus to features, speaker-disjoint folds and batches, without JAX."""
