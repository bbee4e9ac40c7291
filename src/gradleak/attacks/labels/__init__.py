"""Label restoration from the gradient of the last layer, one file per method.

:mod:`gradleak.attacks.labels.base` makes one by name.
"""
