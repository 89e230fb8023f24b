"""Whether an experiment makes sense, found out before it is trained."""
