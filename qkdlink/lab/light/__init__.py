"""Blocks with Eve on the quantum channel, without sockets, and sweeps over them."""
