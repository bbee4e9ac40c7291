"""From rows to tables, figures and the numbers that the paper quotes."""
