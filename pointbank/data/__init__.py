"""Files that come with the program: programmes, and the recipe of the sample."""
