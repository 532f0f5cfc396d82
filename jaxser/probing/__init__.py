"""Measures how well a frozen representation still predicts domains (leakage) and the emotion."""
