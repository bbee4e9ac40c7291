"""What was asked for: configuration, catalogue, jobs, grid, command lines, paths and cost. Never imports torch."""
