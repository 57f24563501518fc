"""BUILD_DIR, the build context, and what is built from it."""
