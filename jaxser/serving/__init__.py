"""The model of a finished sweep: its files, predictions by it, and its export."""
