"""What `inv doctor` looks at on every engine: small functions of (settings, engine), each with one finding."""
