"""The durable key store of a node: what survives a process, sealed, and delivered once."""
