"""Published experiments and simulations, each computed again from its paper's own model."""
