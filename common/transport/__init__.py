"""Sockets, brokers and TLS: how bytes of light and words of the protocol travel between processes."""
