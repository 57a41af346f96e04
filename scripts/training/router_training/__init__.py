"""Trains, exports and measures the classifier that thinkgate routes by."""
