"""What a study file says: its dimensions, configurations, published figures, and how it is read."""
