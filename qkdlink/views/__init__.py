"""What people see on a terminal: the live table of a link, and the console from which Eve is played."""
