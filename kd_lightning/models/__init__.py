"""Networks, one family a file, and what reads or copies their insides."""
