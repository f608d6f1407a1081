"""Data sets in memory, and the batches that each training iteration sees."""
