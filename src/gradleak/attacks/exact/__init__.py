"""Exact inversion: every image of a batch by itself, from the gradients of the linear layers, with a certificate."""
