"""Metrics: pure functions of truth and guess, the only place where both meet."""
