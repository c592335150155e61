"""Encoders of single inputs."""
