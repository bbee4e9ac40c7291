"""What a client may do to its gradient before it sends it, one file per transform.

:mod:`gradleak.clients.defenses.base` makes one by name and applies several.
"""
