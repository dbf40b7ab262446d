"""Starting the processes of a link on this machine, and gathering what they report."""
