"""What is measured of a network: how well it recognises, how sure that is, and what it costs to run."""
