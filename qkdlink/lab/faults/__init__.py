"""Faults on purpose: processes killed at named or random moments, lines cut and slowed, and the check of what is
left."""
