"""Features: what the networks hear."""
