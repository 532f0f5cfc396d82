"""Trains and tests the runs of a sweep."""
