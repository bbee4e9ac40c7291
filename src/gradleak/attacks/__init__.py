"""Attacks: what the server infers from what it sees."""
