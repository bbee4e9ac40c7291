"""gradleak: gradient leakage in federated learning as a reproducible paper."""

__version__ = "0.1.0"
