"""Where studies and runs are kept: locations, databases, and the lock of a study."""
