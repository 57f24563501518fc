"""The parts of the standalone engine: an environment, a home folder, a supervisor, tagged processes."""
