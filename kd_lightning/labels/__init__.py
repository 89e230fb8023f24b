"""What a teacher says of a corpus, written once and read beside the audio."""
