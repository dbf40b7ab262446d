"""Eve with the secrets of TLS sessions in her hands: what she reads, and what it tells her of a key."""
