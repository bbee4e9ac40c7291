"""The cost of a grid before it is run: its jobs, their states, and the mean times of past jobs."""
