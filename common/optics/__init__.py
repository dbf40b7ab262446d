"""The physics of light: source, fibre, detectors. Only this floor may open a pulse train."""
