"""The programs for users, one module each. ``main`` runs them as subcommands, ``workflow/scripts/`` by path.

A job's code digest covers this file and the module of its program, so this file stays empty.
"""
