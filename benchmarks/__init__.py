"""What a delivery costs, ours and the way of the Quart docs, measured in one run."""
