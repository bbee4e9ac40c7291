"""Data sets, and the batches that clients draw from them."""
