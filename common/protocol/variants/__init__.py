"""Protocols as data: one file each says what it sends, how its key is bounded and how it is planned."""
