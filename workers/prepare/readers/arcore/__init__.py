"""Captures that a phone's augmented reality has tracked: what it recorded, and its drift taken out of it."""
