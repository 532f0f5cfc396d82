"""From utterances to folds: protocols, subsets of the training part, and the audit for leaks."""
