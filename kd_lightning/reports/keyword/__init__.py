"""Keyword spotting in a report: accuracy, flips, confusions."""
