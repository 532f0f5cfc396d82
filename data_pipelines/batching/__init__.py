"""From folds to batches: which utterances, in which order, with which labels and features."""
