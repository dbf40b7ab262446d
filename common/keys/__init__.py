"""What keys are called and what may be told of them: pure, without material."""
