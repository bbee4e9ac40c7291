"""What a grid costs before it is run: its jobs and their states, and the mean times of past jobs."""
