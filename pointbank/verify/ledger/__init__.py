"""The bank's lines: wallets, lots and balances made again from them, their chain, and the seals over them."""
