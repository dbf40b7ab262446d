"""Record now, decrypt later: recordings of every wire, and what they are worth afterwards."""
