"""What clients send: observations, rounds and defenses."""
