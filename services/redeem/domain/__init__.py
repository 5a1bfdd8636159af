"""What the bank decides: pure, on rows and moments that it is given."""
