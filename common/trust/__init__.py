"""Trust anchors and credentials: how a node knows, before any key exists, who is at the other end."""
