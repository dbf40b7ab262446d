"""Bob: the receiver. What stands here, Alice could not truthfully execute."""
