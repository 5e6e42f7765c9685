"""The stores of studies and runs: locations, databases, and the lock of a study."""
