"""The metadata database from one version, key or machine to another."""
