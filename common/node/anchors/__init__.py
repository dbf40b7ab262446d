"""Trust anchors: how a node knows its peer at the bootstrap, one file each, behind one small interface."""
