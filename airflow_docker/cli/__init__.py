"""The verbs and their flags."""
