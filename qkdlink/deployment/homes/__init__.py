"""The folders and files that the nodes of a link need."""
