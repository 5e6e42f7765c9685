"""Trains one configuration and scores it after every epoch."""
