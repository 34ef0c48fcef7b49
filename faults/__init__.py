"""What breaks in operation, played against real processes: ``python -m faults``."""
