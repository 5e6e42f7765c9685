"""Images of the user's own, and how they are found."""
