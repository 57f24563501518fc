"""Docker Compose: all on one host."""
