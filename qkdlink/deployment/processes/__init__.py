"""How other programs are run and ended, and what is said of their end."""
