"""Making certificates, authorities and signed cards; nodes only read them."""
