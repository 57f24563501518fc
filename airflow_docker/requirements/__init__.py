"""Python packages: from requirements as people write them to one lock."""
