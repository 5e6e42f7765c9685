"""What is searched: configurations, spaces, studies and rankings. Knows optuna, and of models only the names."""
