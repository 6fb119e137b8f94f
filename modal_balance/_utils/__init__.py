"""Helpers for all subpackages: arguments, files, torch state, versions, compatibility."""
