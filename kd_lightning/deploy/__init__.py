"""Networks as files for other runtimes: written, rounded to int8, and scored again."""
