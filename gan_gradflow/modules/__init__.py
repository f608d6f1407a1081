"""The two players and the round they play; the only place where all parts meet."""
