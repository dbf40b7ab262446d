"""Compiled kernels, and what several of them need: compaction, and machine instructions that numba lacks."""
