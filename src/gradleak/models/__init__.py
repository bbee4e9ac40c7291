"""Victims, one file per family; ``from gradleak.models.build import build`` makes one by name.

This file imports nothing, so that the plan layer can read ``gradleak.models.options`` without torch.
"""
