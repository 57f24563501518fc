"""The parts of the swarm engine: a stack file, secrets and images for all hosts, the order of a start."""
