"""Clients: observations, rounds and defenses."""
