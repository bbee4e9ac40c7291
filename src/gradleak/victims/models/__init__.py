"""Victims, one file per family; :func:`gradleak.victims.models.build.build` makes one by name."""
