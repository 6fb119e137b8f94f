"""Helpers without a room: arguments, files, torch state, versions, and older dependencies."""
