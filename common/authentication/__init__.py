"""Tags over transcripts: one file per scheme, behind one small interface."""
