"""The programs of gradleak, one per module."""
