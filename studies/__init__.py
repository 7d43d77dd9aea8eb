"""The published tables again: every configuration that the texts report, beside what this machine measures."""
