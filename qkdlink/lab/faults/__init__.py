"""Faults on purpose: processes killed at named or random moments, lines cut and slowed, and what is left."""
