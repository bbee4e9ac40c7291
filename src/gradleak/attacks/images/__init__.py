"""Image reconstruction: one engine for gradient matching, with pluggable parts.

:mod:`gradleak.attacks.images.engine` is the loop; ``client`` what it simulates; ``objectives``, ``priors``, ``lbfgs``,
``starts`` and ``labels`` its parts. DLG, IG and other attacks are settings of these, see ``attacks`` in
``config/config.yaml``.
"""
