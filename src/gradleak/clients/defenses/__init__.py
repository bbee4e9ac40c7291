"""Defenses that a client may apply to its gradient before sending it, one file per transform.

:mod:`gradleak.clients.defenses.base` makes one by name and applies several.
"""
