"""Metrics: pure functions of truth and guess, the only place where the two meet."""
