"""Makes batches from folds: which utterances, in which order, with which labels and features."""
