"""What a client may do to its gradient before it sends it, one file per transform.

:mod:`gradleak.clients.defenses.base` is the contract and the registry, :mod:`gradleak.clients.defenses.all` registers
every transform and re-exports ``build``, ``names`` and ``apply``. This package itself imports nothing, so that the plan
layer may import it.
"""
