"""The drills under a load of their own: one frame (``frame``, ``command``, ``result``), and a package for each load, which says what it
asks for, what breaks, what the evidence proves and which columns its table has."""
