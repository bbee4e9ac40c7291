"""Victims, one file per family; ``from gradleak.victims.models.build import build`` makes one by name."""
