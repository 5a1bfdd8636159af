"""What earn does by itself, beside what it hears and is asked."""
