"""What the database guarantees whatever the code does, held against lists."""
