"""Reads configurations: which runs they mean, and how they are completed and saved."""
