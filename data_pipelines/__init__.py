"""From a corpus as released to log-mel shards, speaker-disjoint folds and batches; never imports jax."""
