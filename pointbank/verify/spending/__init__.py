"""What points and gift cards paid for, and what was given for them."""
