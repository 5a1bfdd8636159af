"""The way between services: what was said, cut and published, and what was heard."""
