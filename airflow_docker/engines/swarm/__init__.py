"""What the swarm engine is made of: a stack file, secrets and images for all hosts, the order of a start."""
