"""Students that fit a budget: listed in all sizes, measured untrained, ranked by short runs."""
