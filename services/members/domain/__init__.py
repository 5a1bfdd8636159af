"""What members decides: programmes, merchants, members; and the commands that it is given."""
