"""The two git repositories."""
