"""What clients may do to a server, done to a real one: ``python -m attacks``."""
