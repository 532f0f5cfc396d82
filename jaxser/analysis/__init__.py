"""Measures, statistics and summaries of finished runs; nothing here imports JAX."""
