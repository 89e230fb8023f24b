"""Where teachers come from."""
