"""The full man in the middle against a real link."""
