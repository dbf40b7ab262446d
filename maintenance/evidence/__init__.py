"""The long runs behind the claims, one file each; `python -m maintenance.evidence` runs them."""
