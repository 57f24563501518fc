"""BUILD_DIR, and what is built from it."""
