"""Images: where they come from, how they are decoded, cached and split."""
