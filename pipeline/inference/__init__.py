"""Uses finished networks: finds, evaluates, exports and registers them, and predicts with them."""
