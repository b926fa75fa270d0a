"""Numbered work for a StackStorm: ``hafailover drill work``."""
