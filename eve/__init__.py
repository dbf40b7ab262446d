"""Eve: the adversary. She is spliced in, never special-cased."""
