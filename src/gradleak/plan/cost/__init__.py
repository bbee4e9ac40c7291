"""What a grid costs before it is run."""
