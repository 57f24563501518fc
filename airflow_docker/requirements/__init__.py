"""Python packages: from requirements files to one lock."""
