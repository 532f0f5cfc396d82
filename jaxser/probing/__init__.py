"""Measures what a frozen representation still contains: leakage of domains, and the emotion."""
