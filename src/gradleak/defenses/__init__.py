"""Gradient defenses: one file per transform of what the client sends."""
