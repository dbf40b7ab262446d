"""How long a test waits for what should come at once."""

HANGS_S = 10.0
"""Whatever takes longer hangs; less would measure how busy the machine is."""
