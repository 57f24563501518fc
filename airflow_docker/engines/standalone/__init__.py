"""What the standalone engine is made of: an environment, a home folder, a supervisor, processes with a mark."""
