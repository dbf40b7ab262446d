"""Attacks on words, one file each: what Eve can do to bytes of a line whose keys she does not have."""
