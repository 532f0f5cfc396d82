"""Prepared data sets: how they are computed, written, found and read."""
