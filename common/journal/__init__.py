"""The typed vocabulary of what may be told: to a file, to the broker, to a dashboard. Never a secret."""
