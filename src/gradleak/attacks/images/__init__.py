"""Image reconstruction: one engine that matches gradients, with pluggable parts.

:mod:`gradleak.attacks.images.engine` is the loop; ``client`` what it simulates; ``objectives``, ``priors``, ``lbfgs``,
``starts`` and ``labels`` its parts. DLG, IG and others are settings of them, see ``attacks`` in
``config/config.yaml``.
"""
