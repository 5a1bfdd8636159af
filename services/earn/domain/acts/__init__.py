"""Acts besides bills: how they are read, judged and told."""
