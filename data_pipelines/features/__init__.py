"""The features that are stored for an utterance: log-mel frames, states of pretrained encoders."""
