"""Test equipment: programs that stand in for software that cannot be had here, in the lab's nodes."""
