"""Alice: the transmitter. What stands here, Bob could not truthfully execute."""
