"""Diffusion-guided reconstruction: a prior that is trained (``train``) or given (``prior``), and its guidance."""
