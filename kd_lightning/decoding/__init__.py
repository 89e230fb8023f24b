"""From scores of tokens to sentences, and to the time of each word."""
