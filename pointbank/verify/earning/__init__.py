"""What was bought and done, and what it earned: the books of earn, each decision made again."""
