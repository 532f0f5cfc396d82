"""The features that are stored of an utterance: log-mel frames, states of pretrained encoders."""
