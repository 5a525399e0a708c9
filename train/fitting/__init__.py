"""Fitting: strategies, their steps, one phase, and what feeds it."""
