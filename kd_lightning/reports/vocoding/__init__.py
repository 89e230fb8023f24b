"""Vocoding, mel to waveform, in a report."""
