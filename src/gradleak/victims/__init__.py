"""Models, their training and their checkpoints."""
