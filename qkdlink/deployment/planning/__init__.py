"""Choosing the parameters of a link: intensities, probabilities and basis bias."""
