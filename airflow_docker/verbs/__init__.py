"""What a person types: a module per verb or group of verbs, and beside it what that verb alone needs."""
