"""Measures of text and of losses."""
