"""What is to be run: configuration, catalogue, jobs, grid, command lines, paths and cost. Never imports torch."""
