"""Attention as maps, pictures and pages."""
