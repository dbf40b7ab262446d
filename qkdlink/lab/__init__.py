"""The laboratory above the processes: it plans, launches and measures them."""
