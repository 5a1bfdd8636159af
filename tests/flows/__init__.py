"""A package, so that its tests share running processes (pytest's scope `package`), which end with the last of them."""
