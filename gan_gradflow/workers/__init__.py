"""Functions of a batch that are somebody else's program, kept at arm's length."""
