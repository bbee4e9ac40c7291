"""Flower is no part of the environment: ``make test-flower`` installs it."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("flwr") and find_spec("ray") else ["test_flower.py"]
