"""How the public names are used, for type checkers: nothing here is run."""
