"""Label restoration from the gradient of the last layer, one file per method.

:mod:`gradleak.attacks.labels.base` is the contract and the registry, :mod:`gradleak.attacks.labels.all` registers every
method and re-exports ``build`` and ``names``. This package itself imports nothing, so that the plan layer may
import it.
"""
