"""What the bank does by itself, and what a call may ask to be done now. README.md has how often."""
