"""User traffic for experiments, and where its keys come from."""
