"""Information reconciliation: Bob finds and corrects his errors by asking Alice for parities."""
