"""Speech synthesis, text to mel, in a report."""
