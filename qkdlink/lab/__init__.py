"""Experiments on links, and nothing that a link needs."""
