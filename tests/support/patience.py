"""How long a test waits for what must come. It says nothing about speed: what never comes is told apart from a slow machine."""

PATIENCE_S = 60.0
