"""Victims, one file per family; ``from gradleak.victims.models.build import build`` makes one by name.

This file imports nothing, so that the plan layer can read ``gradleak.plan.model_options`` without torch.
"""
