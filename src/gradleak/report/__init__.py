"""From rows to tables, figures and the numbers in the paper's text."""
