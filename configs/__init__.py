"""Configurations: base.py has every key with its default, and each other file one experiment."""
