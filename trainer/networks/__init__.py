"""Backbones, heads, and their export for serving."""
