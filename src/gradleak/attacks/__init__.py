"""What the server makes of what it sees."""
