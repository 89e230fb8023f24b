"""Speech recognition in a report: word errors, by what and of what, and the utterances that tell most."""
