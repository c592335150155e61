"""The manipulation transformer and its parts."""
