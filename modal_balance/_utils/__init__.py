"""Helpers for all rooms: arguments, files, torch state, versions, compatibility."""
