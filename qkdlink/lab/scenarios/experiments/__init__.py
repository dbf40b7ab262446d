"""The kinds of experiments that scenarios are made of, one file each."""
