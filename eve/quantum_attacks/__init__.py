"""Attacks on light, one file each: `transparent` is the reference, `catalogue` the explicit list."""
